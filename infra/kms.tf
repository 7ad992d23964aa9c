# One key for each service, so that one can be taken away without the others.

locals {
  # Put together of what is given, so that a plan says which key each store has.
  key_path = { for name, key in google_kms_crypto_key.key : name => "projects/${var.project}/locations/${google_kms_key_ring.celes.location}/keyRings/${google_kms_key_ring.celes.name}/cryptoKeys/${key.name}" }

  keys = toset(["storage", "pubsub", "bigquery", "dataflow", "registry"])

  # Google's own accounts encrypt for us; no account of ours needs a key.
  key_users = {
    storage_agent  = { key = "storage", member = "serviceAccount:service-${var.project_number}@gs-project-accounts.iam.gserviceaccount.com" }
    pubsub_agent   = { key = "pubsub", member = "serviceAccount:service-${var.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com" }
    bigquery_agent = { key = "bigquery", member = "serviceAccount:bq-${var.project_number}@bigquery-encryption.iam.gserviceaccount.com" }
    dataflow_agent = { key = "dataflow", member = "serviceAccount:service-${var.project_number}@dataflow-service-producer-prod.iam.gserviceaccount.com" }
    compute_agent  = { key = "dataflow", member = "serviceAccount:service-${var.project_number}@compute-system.iam.gserviceaccount.com" }
    registry_agent = { key = "registry", member = "serviceAccount:service-${var.project_number}@gcp-sa-artifactregistry.iam.gserviceaccount.com" }
  }

  # Those that Google makes only when they are asked for.
  agents = toset([
    "artifactregistry.googleapis.com",
    "dataflow.googleapis.com",
    "pubsub.googleapis.com",
  ])
}

resource "google_project_service_identity" "agent" {
  for_each = local.agents
  provider = google-beta

  project = var.project
  service = each.value

  depends_on = [google_project_service.api]
}

# Looking at these two is what makes them.
data "google_storage_project_service_account" "agent" {
  depends_on = [google_project_service.api]
}

data "google_bigquery_default_service_account" "agent" {
  depends_on = [google_project_service.api]
}

resource "google_kms_key_ring" "celes" {
  name     = "celes"
  location = var.region

  depends_on = [google_project_service.api]
}

resource "google_kms_crypto_key" "key" {
  # checkov:skip=CKV_GCP_43:key_rotation_days is between 1 and 90 (variables.tf); checkov computes no expression.
  for_each = local.keys

  name                       = each.value
  key_ring                   = google_kms_key_ring.celes.id
  purpose                    = "ENCRYPT_DECRYPT"
  rotation_period            = "${var.key_rotation_days * 86400}s"
  destroy_scheduled_duration = "2592000s"
  labels                     = var.labels

  # What a destroyed key has encrypted is lost.
  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "agent" {
  for_each = local.key_users

  crypto_key_id = local.key_path[each.value.key]
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.value.member

  depends_on = [
    data.google_bigquery_default_service_account.agent,
    data.google_storage_project_service_account.agent,
    google_project_service_identity.agent,
  ]
}
