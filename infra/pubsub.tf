locals {
  week  = "604800s"
  month = "2678400s"
}

resource "google_pubsub_topic" "sales" {
  name                       = "ventas"
  kms_key_name               = local.key_path["pubsub"]
  message_retention_duration = local.week
  labels                     = var.labels

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}

# Without a dead-letter policy, which Dataflow refuses: the pipeline sends what it rejects itself.
resource "google_pubsub_subscription" "sales" {
  name                       = "ventas-celes-beam"
  topic                      = google_pubsub_topic.sales.id
  ack_deadline_seconds       = 60
  message_retention_duration = local.week
  labels                     = var.labels

  # It would be deleted after 31 days without a job.
  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_topic" "rejected" {
  name         = "ventas-rechazadas"
  kms_key_name = local.key_path["pubsub"]
  labels       = var.labels

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}

# Somebody has to find the cause before a replay is of use: kept as long as Pub/Sub can.
resource "google_pubsub_subscription" "rejected" {
  name                       = "ventas-rechazadas-replay"
  topic                      = google_pubsub_topic.rejected.id
  ack_deadline_seconds       = 60
  message_retention_duration = local.month
  labels                     = var.labels

  expiration_policy {
    ttl = ""
  }
}
