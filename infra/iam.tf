# Who may do what. docs/security.md says of each grant why it is there, and what breaks without it;
# a test compares the two. On a resource wherever a role can be given there.

locals {
  accounts = {
    worker    = "Workers and launcher machines of the jobs: reads what comes in, writes what comes of it."
    launcher  = "Starts jobs, and brings images and templates; people and CI act as it."
    scheduler = "Starts the batch job for new files; Cloud Scheduler acts as it."
    reader    = "Reads accepted sales in BigQuery; reports act as it."
  }
  email  = { for name, account in google_service_account.account : name => "${account.account_id}@${var.project}.iam.gserviceaccount.com" }
  member = { for name, email in local.email : name => "serviceAccount:${email}" }

  account_path = { for name, email in local.email : name => "projects/${var.project}/serviceAccounts/${email}" }

  templates = "projects/_/buckets/${google_storage_bucket.staging.name}/objects/templates/"

  # These roles can be given for a project alone.
  project_grants = {
    worker_dataflow    = { who = "worker", role = "roles/dataflow.worker" }
    worker_jobs        = { who = "worker", role = "roles/bigquery.jobUser" }
    launcher_dataflow  = { who = "launcher", role = "roles/dataflow.developer" }
    scheduler_dataflow = { who = "scheduler", role = "roles/dataflow.developer" }
    reader_jobs        = { who = "reader", role = "roles/bigquery.jobUser" }
  }

  bucket_grants = {
    worker_landing   = { bucket = google_storage_bucket.landing.name, member = local.member.worker, role = "roles/storage.objectViewer" }
    worker_lake      = { bucket = google_storage_bucket.lake.name, member = local.member.worker, role = "roles/storage.objectUser" }
    launcher_staging = { bucket = google_storage_bucket.staging.name, member = local.member.launcher, role = "roles/storage.objectUser" }
  }

  # Not that of what was rejected: no job pulls from it, and to acknowledge is to destroy.
  subscription_grants = {
    worker_pull = { subscription = google_pubsub_subscription.sales.name, role = "roles/pubsub.subscriber" }
    worker_look = { subscription = google_pubsub_subscription.sales.name, role = "roles/pubsub.viewer" }
  }
}

resource "google_service_account" "account" {
  for_each = local.accounts

  account_id   = "celes-${each.key}"
  display_name = "celes-beam ${each.key}"
  description  = each.value

  depends_on = [google_project_service.api]
}

resource "google_project_iam_member" "grant" {
  # checkov:skip=CKV_GCP_49:roles/dataflow.developer cannot be given below the project. Whom its holder may act as is said on that account alone (act_as_worker).
  for_each = local.project_grants

  project = var.project
  role    = each.value.role
  member  = local.member[each.value.who]
}

resource "google_storage_bucket_iam_member" "grant" {
  for_each = local.bucket_grants

  bucket = each.value.bucket
  role   = each.value.role
  member = each.value.member
}

# Whoever changes a template decides what runs at the next launch: no job does.
resource "google_storage_bucket_iam_member" "worker_staging" {
  bucket = google_storage_bucket.staging.name
  role   = "roles/storage.objectUser"
  member = local.member.worker

  condition {
    title       = "not_templates"
    description = "All but the specifications of the templates."
    expression  = "!resource.name.startsWith(\"${local.templates}\")"
  }
}

# What lies in temp/ and staging/ beside the templates is none of its business.
resource "google_storage_bucket_iam_member" "scheduler_templates" {
  bucket = google_storage_bucket.staging.name
  role   = "roles/storage.objectViewer"
  member = local.member.scheduler

  condition {
    title       = "templates"
    description = "The specifications of the templates alone."
    expression  = "resource.name.startsWith(\"${local.templates}\")"
  }
}

resource "google_storage_bucket_iam_member" "uploader" {
  for_each = var.uploaders

  bucket = google_storage_bucket.landing.name
  role   = "roles/storage.objectCreator"
  member = each.value
}

resource "google_pubsub_subscription_iam_member" "worker" {
  for_each = local.subscription_grants

  subscription = each.value.subscription
  role         = each.value.role
  member       = local.member.worker
}

resource "google_pubsub_topic_iam_member" "worker_rejected" {
  for_each = toset(["roles/pubsub.publisher", "roles/pubsub.viewer"])

  topic  = google_pubsub_topic.rejected.name
  role   = each.value
  member = local.member.worker
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = var.publishers

  topic  = google_pubsub_topic.sales.name
  role   = "roles/pubsub.publisher"
  member = each.value
}

resource "google_bigquery_dataset_iam_member" "worker" {
  dataset_id = google_bigquery_dataset.sales.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = local.member.worker
}

resource "google_bigquery_dataset_iam_member" "reader" {
  dataset_id = google_bigquery_dataset.sales.dataset_id
  role       = "roles/bigquery.metadataViewer"
  member     = local.member.reader
}

# The views, and the tables below them. What was rejected, with its raw bytes, is not for reports.
resource "google_bigquery_table_iam_member" "reader" {
  for_each = merge(
    { for table in distinct(values(local.warehouse.views)[*].over) : table => google_bigquery_table.table[table].table_id },
    { for name, view in google_bigquery_table.view : name => view.table_id },
  )

  dataset_id = google_bigquery_dataset.sales.dataset_id
  table_id   = each.value
  role       = "roles/bigquery.dataViewer"
  member     = local.member.reader
}

resource "google_artifact_registry_repository_iam_member" "worker" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.reader"
  member     = local.member.worker
}

resource "google_artifact_registry_repository_iam_member" "launcher" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.writer"
  member     = local.member.launcher
}

# To start a job that runs as the worker is to act as the worker.
resource "google_service_account_iam_member" "act_as_worker" {
  for_each = toset(["launcher", "scheduler"])

  service_account_id = local.account_path["worker"]
  role               = "roles/iam.serviceAccountUser"
  member             = local.member[each.value]
}

resource "google_service_account_iam_member" "act_as_launcher" {
  for_each = var.launchers

  service_account_id = local.account_path["launcher"]
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value
}

resource "google_service_account_iam_member" "act_as_reader" {
  for_each = var.report_viewers

  service_account_id = local.account_path["reader"]
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value
}

# To choose an account for a data source is to act as it.
resource "google_service_account_iam_member" "choose_reader" {
  for_each = var.report_editors

  service_account_id = local.account_path["reader"]
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}
