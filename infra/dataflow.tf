locals {
  # Dataflow takes the whole address of a subnet, or this.
  subnetwork = "regions/${var.region}/subnetworks/${google_compute_subnetwork.dataflow.name}"
}

# The template and its image have to be there first (image_version). A change of it, or of the
# parameters, updates the job in its place; another max_workers drains it, and starts the next.
resource "google_dataflow_flex_template_job" "streaming" {
  count    = var.streaming ? 1 : 0
  provider = google-beta

  name                    = local.streaming_job
  region                  = var.region
  container_spec_gcs_path = "gs://${google_storage_bucket.staging.name}/templates/${var.image_version}/streaming.json"
  service_account_email   = local.email["worker"]
  sdk_container_image     = "${local.image}:${var.image_version}"
  subnetwork              = local.subnetwork
  ip_configuration        = "WORKER_IP_PRIVATE"
  kms_key_name            = local.key_path["dataflow"]
  machine_type            = var.worker_machine_type
  max_workers             = var.max_workers
  enable_streaming_engine = true
  temp_location           = "gs://${google_storage_bucket.staging.name}/temp"
  staging_location        = "gs://${google_storage_bucket.staging.name}/staging"
  labels                  = var.labels

  # Ends it as `gcloud dataflow jobs drain` does: what was pulled is written first.
  on_delete                    = "drain"
  skip_wait_on_job_termination = false

  parameters = {
    subscription      = "projects/${var.project}/subscriptions/${google_pubsub_subscription.sales.name}"
    dead_letter_topic = "projects/${var.project}/topics/${google_pubsub_topic.rejected.name}"
    bigquery_table    = local.bigquery_table
    kms_key           = local.key_path["bigquery"]
    output            = "gs://${google_storage_bucket.lake.name}/ventas_stream"
    delivery          = "exactly_once"
    # Two write streams a batch, of which BigQuery gives 10,000 an hour (celes-beam plan).
    max_batch_seconds = "5"
  }

  depends_on = [
    google_artifact_registry_repository_iam_member.worker,
    google_bigquery_dataset_iam_member.worker,
    google_bigquery_table.table,
    google_bigquery_table.view,
    google_dns_record_set.names,
    google_kms_crypto_key_iam_member.agent,
    google_project_iam_member.grant,
    google_pubsub_subscription_iam_member.worker,
    google_pubsub_topic_iam_member.worker_rejected,
    google_storage_bucket_iam_member.grant,
    google_storage_bucket_iam_member.worker_staging,
  ]
}
