resource "google_storage_bucket" "landing" {
  # checkov:skip=CKV_GCP_62:Cloud Audit Logs (audit.tf) tell of each access, with who it was; usage logs would not.
  name                        = "${var.project}-celes-landing"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = var.labels

  encryption {
    default_kms_key_name = local.key_path["storage"]
  }

  # A file that is replaced by mistake can be had again.
  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  lifecycle_rule {
    action {
      type          = "SetStorageClass"
      storage_class = "NEARLINE"
    }
    condition {
      age = 30
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.landing_delete_after_days > 0 ? [var.landing_delete_after_days] : []

    content {
      action {
        type = "Delete"
      }
      condition {
        age = lifecycle_rule.value
      }
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}

resource "google_storage_bucket" "lake" {
  # checkov:skip=CKV_GCP_62:Cloud Audit Logs (audit.tf) tell of each access, with who it was; usage logs would not.
  # checkov:skip=CKV_GCP_78:No file of a lake is ever changed, and what is deleted can be had again for a week (soft delete); versions would keep for ever what compaction has replaced.
  name                        = "${var.project}-celes-lake"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = var.labels

  encryption {
    default_kms_key_name = local.key_path["storage"]
  }

  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}

resource "google_storage_bucket" "staging" {
  # checkov:skip=CKV_GCP_62:Cloud Audit Logs (audit.tf) tell of each access, with who it was; usage logs would not.
  # checkov:skip=CKV_GCP_78:What jobs put here can be made again; versions would be paid for, and hold copies of rows.
  name                        = "${var.project}-celes-staging"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = var.labels

  encryption {
    default_kms_key_name = local.key_path["storage"]
  }

  # Jobs write and delete here all the time: each deleted byte would be paid for a week.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  # Not staging/ and templates/: workers of a streaming job read the one as long as it runs.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 14
      matches_prefix = ["temp/"]
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}
