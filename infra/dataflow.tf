locals {
  # Dataflow takes the whole address of a subnet, or this.
  subnetwork = "regions/${var.region}/subnetworks/${google_compute_subnetwork.dataflow.name}"
}

# The template and its image have to be there first (image_version). A change of it, or of the
# parameters, updates the job in its place.
resource "google_dataflow_flex_template_job" "streaming" {
  count    = var.streaming ? 1 : 0
  provider = google-beta

  name                    = local.streaming_job
  region                  = var.region
  container_spec_gcs_path = "gs://${google_storage_bucket.staging.name}/templates/${var.image_version}/streaming.json"
  service_account_email   = local.email["worker"]
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

  parameters = merge({
    # Here and not above, where a change of it would be ignored.
    sdk_container_image = "${local.image}:${var.image_version}"

    subscription      = "projects/${var.project}/subscriptions/${google_pubsub_subscription.sales.name}"
    dead_letter_topic = "projects/${var.project}/topics/${google_pubsub_topic.rejected.name}"
    bigquery_table    = local.bigquery_table
    kms_key           = local.key_path["bigquery"]
    output            = "gs://${google_storage_bucket.lake.name}/ventas_stream"
    delivery          = "exactly_once"
    # Two write streams a batch, of which BigQuery gives 10,000 an hour (celes-beam plan).
    max_batch_seconds = "5"
  }, var.live_windows == null ? {} : { live_windows = var.live_windows })

  # Of a job in Python the provider reads these as nothing (it knows their names in Java), and would
  # drain the stream and start another at each apply:
  # github.com/hashicorp/terraform-provider-google/issues/14679 and 23797. An update in place leaves
  # them to the template, which has them too (celes-beam deploy template).
  lifecycle {
    ignore_changes = [
      machine_type,
      max_workers,
      network,
      num_workers,
      sdk_container_image,
      staging_location,
      subnetwork,
      temp_location,
    ]
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
