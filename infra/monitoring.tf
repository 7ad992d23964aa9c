# What is measured comes from Dataflow and Pub/Sub, and of batches from the line that each commit
# writes into the log of the workers (celes_beam/transforms/load.py).

locals {
  channels = [for channel in google_monitoring_notification_channel.email : channel.id]

  committed = join(" AND ", [
    "resource.type=\"dataflow_step\"",
    "logName=\"projects/${var.project}/logs/dataflow.googleapis.com%2Fworker\"",
    "jsonPayload.message=~\"^committed run \"",
  ])
  commit_figures = { read = "rows read", accepted = "rows accepted", rejected = "rows rejected" }

  # A distribution of the figures of each commit; its sum is the rows. A metric made of logs is of no
  # one kind of resource, and PromQL refuses it until the kind is named.
  of_worker      = "monitored_resource=\"dataflow_step\""
  batch_read     = "logging_googleapis_com:user_celes_batch_read_sum{${local.of_worker}}"
  batch_rejected = "logging_googleapis_com:user_celes_batch_rejected_sum{${local.of_worker}}"
  counter        = "dataflow_googleapis_com:job_user_counter"
  stream         = "job_name=\"${local.streaming_job}\""
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = "celes-beam ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }

  depends_on = [google_project_service.api]
}

resource "google_logging_metric" "batch" {
  for_each = local.commit_figures

  name            = "celes_batch_${each.key}"
  description     = "Of each commit of a batch: ${each.value}."
  filter          = local.committed
  value_extractor = "REGEXP_EXTRACT(jsonPayload.message, \" ${each.key}=([0-9]+)\")"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "1"
  }

  bucket_options {
    exponential_buckets {
      num_finite_buckets = 40
      growth_factor      = 2
      scale              = 1
    }
  }
}

resource "google_logging_metric" "launch_failed" {
  name        = "celes_launch_failed"
  description = "Launches of the batch job that Cloud Scheduler could not make."
  filter = join(" AND ", [
    "resource.type=\"cloud_scheduler_job\"",
    "resource.labels.job_id=\"${local.batch_job}\"",
    "severity>=ERROR",
  ])

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
  }
}

resource "google_monitoring_alert_policy" "system_lag" {
  display_name          = "celes-beam: the stream is behind"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = "System lag above ${var.max_system_lag_seconds} s"

    condition_threshold {
      filter          = "resource.type=\"dataflow_job\" AND resource.labels.job_name=\"${local.streaming_job}\" AND metric.type=\"dataflow.googleapis.com/job/system_lag\""
      comparison      = "COMPARISON_GT"
      threshold_value = var.max_system_lag_seconds
      duration        = "300s"

      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    content = "Something waits in the job for longer than it should. Look at the job's slowest step, at its errors, and whether it has max_workers already."
  }

  depends_on = [google_project_service.api]
}

resource "google_monitoring_alert_policy" "backlog" {
  display_name          = "celes-beam: messages wait"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = "Oldest message of ${google_pubsub_subscription.sales.name} older than ${var.max_backlog_seconds} s"

    condition_threshold {
      filter          = "resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.sales.name}\" AND metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      comparison      = "COMPARISON_GT"
      threshold_value = var.max_backlog_seconds
      duration        = "300s"

      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    content = "Nobody takes the messages, or not fast enough. They are kept for 7 days, and lost after that: see that the streaming job runs."
  }

  depends_on = [google_project_service.api]
}

resource "google_monitoring_alert_policy" "rejected" {
  display_name          = "celes-beam: many rows are rejected"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = "Batches: rejected share of an hour above ${var.max_rejected_share}"

    condition_prometheus_query_language {
      query                     = "sum(increase(${local.batch_rejected}[1h])) / (sum(increase(${local.batch_read}[1h])) > 0) > ${var.max_rejected_share}"
      duration                  = "0s"
      evaluation_interval       = "300s"
      disable_metric_validation = true
    }
  }

  conditions {
    display_name = "Stream: rejected share of an hour above ${var.max_rejected_share}"

    condition_prometheus_query_language {
      query                     = "sum(delta(${local.counter}{${local.stream},metric_name=\"rows_rejected\"}[1h])) / (sum(delta(${local.counter}{${local.stream},metric_name=\"rows_read\"}[1h])) > 0) > ${var.max_rejected_share}"
      duration                  = "300s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  documentation {
    content = "Rows are not lost: they are in _rejected/ of the lake, in ${local.sales_table}_rechazadas and in the dead-letter topic, with their reasons. Find the reason that leads, mend the source or write a fix, and replay them (pipelines.replay)."
  }

  depends_on = [google_logging_metric.batch]
}

resource "google_monitoring_alert_policy" "failed" {
  display_name          = "celes-beam: a job failed"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = "A job of Dataflow failed"

    condition_threshold {
      filter          = "resource.type=\"dataflow_job\" AND resource.labels.job_name=starts_with(\"celes-\") AND metric.type=\"dataflow.googleapis.com/job/is_failed\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  # By PromQL, which can be told not to look for a metric that was made a moment ago: a filter of it
  # fails the first apply (github.com/hashicorp/terraform-provider-google/issues/11102).
  conditions {
    display_name = "The batch job could not be launched"

    condition_prometheus_query_language {
      query                     = "sum(increase(logging_googleapis_com:user_${google_logging_metric.launch_failed.name}{monitored_resource=\"cloud_scheduler_job\"}[10m])) > 0"
      duration                  = "0s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  documentation {
    content = "Nothing of a failed run is visible, and nothing is taken in twice: once the cause is gone, launch it again. A launch that failed because the last one is still running needs nothing."
  }

  depends_on = [google_project_service.api]
}

resource "google_monitoring_alert_policy" "no_data" {
  # Nothing reads before there is an image.
  count = var.image_version == null ? 0 : 1

  display_name          = "celes-beam: no new data"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = "No batch has read a row for ${var.max_hours_without_data} h"

    condition_prometheus_query_language {
      query                     = "(sum(increase(${local.batch_read}[${var.max_hours_without_data}h])) or vector(0)) < 1"
      duration                  = "0s"
      evaluation_interval       = "300s"
      disable_metric_validation = true
    }
  }

  # Whoever has files alone publishes nothing, and need not be told so every night.
  dynamic "conditions" {
    for_each = var.streaming ? ["stream"] : []

    content {
      display_name = "Nothing was published for ${var.max_hours_without_data} h"

      condition_prometheus_query_language {
        query                     = "(sum(increase(pubsub_googleapis_com:topic_send_message_operation_count{topic_id=\"${google_pubsub_topic.sales.name}\"}[${var.max_hours_without_data}h])) or vector(0)) < 1"
        duration                  = "0s"
        evaluation_interval       = "300s"
        disable_metric_validation = true
      }
    }
  }

  documentation {
    content = "The shops send nothing, or it does not arrive: look at the landing bucket, the topic and the last launches of Cloud Scheduler."
  }

  depends_on = [google_logging_metric.batch]
}

resource "google_monitoring_dashboard" "celes" {
  dashboard_json = templatefile("${path.module}/dashboard.json", {
    streaming_job         = local.streaming_job
    subscription          = google_pubsub_subscription.sales.name
    rejected_subscription = google_pubsub_subscription.rejected.name
    landing               = google_storage_bucket.landing.name
    lake                  = google_storage_bucket.lake.name
    max_system_lag        = var.max_system_lag_seconds
    max_backlog           = var.max_backlog_seconds
  })

  depends_on = [google_logging_metric.batch]
}
