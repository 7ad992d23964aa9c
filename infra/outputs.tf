output "image" {
  description = "Where the image goes, without its version: celes-beam deploy build."
  value       = local.image
}

output "templates" {
  description = "Where the templates go, in a folder for each version: celes-beam deploy template."
  value       = "gs://${google_storage_bucket.staging.name}/templates"
}

output "staging_location" {
  description = "Where jobs put what their workers need."
  value       = "gs://${google_storage_bucket.staging.name}/staging"
}

output "temp_location" {
  description = "Where jobs put what can go after two weeks."
  value       = "gs://${google_storage_bucket.staging.name}/temp"
}

output "landing" {
  description = "Where files of sales are put."
  value       = "gs://${google_storage_bucket.landing.name}"
}

output "lake" {
  description = "Where the lakes are."
  value       = "gs://${google_storage_bucket.lake.name}"
}

output "bigquery_table" {
  description = "The table of accepted sales, as --bigquery_table has it."
  value       = local.bigquery_table
}

output "topic" {
  description = "Where sales are published."
  value       = "projects/${var.project}/topics/${google_pubsub_topic.sales.name}"
}

output "subscription" {
  description = "What the streaming job reads."
  value       = "projects/${var.project}/subscriptions/${google_pubsub_subscription.sales.name}"
}

output "dead_letter_topic" {
  description = "Where messages of rejected rows go."
  value       = "projects/${var.project}/topics/${google_pubsub_topic.rejected.name}"
}

output "dead_letter_subscription" {
  description = "What a replay of them reads."
  value       = "projects/${var.project}/subscriptions/${google_pubsub_subscription.rejected.name}"
}

output "subnetwork" {
  description = "Where workers run, as --subnetwork has it."
  value       = local.subnetwork
}

output "dataflow_kms_key" {
  description = "Key of disks and state of the jobs, as --dataflow_kms_key has it."
  value       = local.key_path["dataflow"]
}

output "bigquery_kms_key" {
  description = "Key of the tables, as --kms_key has it."
  value       = local.key_path["bigquery"]
}

output "service_accounts" {
  description = "Accounts by what they do."
  value       = local.email
}

output "workload_identity_provider" {
  description = "What a workflow of GitHub signs in with; null without github_repository."
  value       = one(google_iam_workload_identity_pool_provider.github[*].name)
}

output "dashboard" {
  description = "The dashboard in Monitoring."
  value       = google_monitoring_dashboard.celes.id
}
