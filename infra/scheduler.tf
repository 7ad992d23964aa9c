# A launch of the batch template each night. Files that the lake has are skipped, and Dataflow takes
# no second job of one name while the first is running.

locals {
  batch_parameters = {
    input          = "gs://${google_storage_bucket.landing.name}/"
    output         = "gs://${google_storage_bucket.lake.name}/ventas"
    if_exists      = "append"
    bad_files      = "set_aside"
    bigquery_table = local.bigquery_table
    kms_key        = local.key_path["bigquery"]
  }
  bigquery_table = "${var.project}:${google_bigquery_dataset.sales.dataset_id}.${local.sales_table}"
}

resource "google_cloud_scheduler_job" "batch" {
  count = var.image_version == null ? 0 : 1

  name             = local.batch_job
  description      = "Takes new files of the landing bucket into the lake and BigQuery."
  region           = var.region
  schedule         = var.batch_schedule
  time_zone        = var.batch_time_zone
  attempt_deadline = "180s"

  # A launch that was taken but not answered is refused the second time, by the job's name.
  retry_config {
    retry_count          = 3
    min_backoff_duration = "60s"
  }

  http_target {
    http_method = "POST"
    uri         = "https://dataflow.googleapis.com/v1b3/projects/${var.project}/locations/${var.region}/flexTemplates:launch"
    headers     = { "Content-Type" = "application/json" }

    body = base64encode(jsonencode({
      launchParameter = {
        jobName              = local.batch_job
        containerSpecGcsPath = "gs://${google_storage_bucket.staging.name}/templates/${var.image_version}/batch.json"
        parameters           = local.batch_parameters
        environment = {
          serviceAccountEmail  = local.email["worker"]
          subnetwork           = local.subnetwork
          ipConfiguration      = "WORKER_IP_PRIVATE"
          kmsKeyName           = local.key_path["dataflow"]
          tempLocation         = "gs://${google_storage_bucket.staging.name}/temp"
          stagingLocation      = "gs://${google_storage_bucket.staging.name}/staging"
          sdkContainerImage    = "${local.image}:${var.image_version}"
          machineType          = var.worker_machine_type
          maxWorkers           = var.max_workers
          additionalUserLabels = var.labels
        }
      }
    }))

    oauth_token {
      service_account_email = local.email["scheduler"]
      scope                 = "https://www.googleapis.com/auth/cloud-platform"
    }
  }

  depends_on = [
    google_project_iam_member.grant,
    google_service_account_iam_member.act_as_worker,
    google_storage_bucket_iam_member.scheduler_templates,
  ]
}
