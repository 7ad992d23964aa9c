# Tables and views as the contract of celes-beam has them: bigquery/ is written by
# `python -m celes_beam.stores.warehouse.terraform_files`, and a test holds the two together.

locals {
  warehouse   = jsondecode(file("${path.module}/bigquery/tables.json"))
  sales_table = "ventas"
}

resource "google_bigquery_dataset" "sales" {
  dataset_id  = "ventas"
  location    = var.region
  description = "Sales that celes-beam has checked, what it has rejected, and views."
  labels      = var.labels

  default_encryption_configuration {
    kms_key_name = local.key_path["bigquery"]
  }

  # Without this line BigQuery lets everybody read who may view the project.
  access {
    role          = "OWNER"
    special_group = "projectOwners"
  }

  # The others are given by iam.tf, one by one.
  lifecycle {
    ignore_changes = [access]
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}

resource "google_bigquery_table" "table" {
  for_each = local.warehouse.tables

  dataset_id          = google_bigquery_dataset.sales.dataset_id
  table_id            = each.key
  description         = each.value.description
  schema              = file("${path.module}/bigquery/${each.key}.schema.json")
  clustering          = each.value.clustered_by
  deletion_protection = true
  labels              = var.labels

  time_partitioning {
    type  = "DAY"
    field = each.value.partitioned_by
  }

  encryption_configuration {
    kms_key_name = local.key_path["bigquery"]
  }
}

resource "google_bigquery_table" "view" {
  # checkov:skip=CKV_GCP_80:A view holds no rows that a key could encrypt.
  # checkov:skip=CKV_GCP_121:A view holds no rows; the tables below it are protected.
  for_each = local.warehouse.views

  dataset_id          = google_bigquery_dataset.sales.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false
  # By this label the pipeline knows the views of a table.
  labels = merge(var.labels, {
    celes_table = substr(sha256("${var.project}.${google_bigquery_dataset.sales.dataset_id}.${each.value.over}"), 0, 32)
  })

  view {
    query = templatefile("${path.module}/bigquery/${each.key}.sql", {
      project = var.project
      dataset = google_bigquery_dataset.sales.dataset_id
      table   = google_bigquery_table.table[each.value.over].table_id
    })
    use_legacy_sql = false
  }
}
