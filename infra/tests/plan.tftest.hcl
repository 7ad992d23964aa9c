# `terraform test`, with Google's provider or the stand-in of tests/infra/provider: nothing is made.

mock_provider "google" {
  override_during = plan
}

mock_provider "google-beta" {
  override_during = plan
}

variables {
  project        = "my-sales-1234"
  project_number = "123456789012"
  region         = "europe-west1"
}

run "without_an_image_there_are_no_jobs" {
  command = plan

  assert {
    condition     = length(google_cloud_scheduler_job.batch) == 0 && length(google_dataflow_flex_template_job.streaming) == 0
    error_message = "a job is planned, and its image is not built"
  }

  assert {
    condition     = length(google_monitoring_alert_policy.no_data) == 0
    error_message = "it warns of missing data before anything can read some"
  }

  assert {
    condition     = length(google_billing_budget.month) == 0 && length(google_iam_workload_identity_pool.github) == 0
    error_message = "a budget or GitHub's pool is planned that was not asked for"
  }
}

run "batch_is_launched_as_the_worker_in_private" {
  command = plan

  variables {
    image_version = "0.1.0"
  }

  assert {
    condition     = google_cloud_scheduler_job.batch[0].http_target[0].oauth_token[0].service_account_email == "celes-scheduler@my-sales-1234.iam.gserviceaccount.com"
    error_message = "the launch is not made as the scheduler's account"
  }

  assert {
    condition     = jsondecode(base64decode(google_cloud_scheduler_job.batch[0].http_target[0].body)).launchParameter.environment.ipConfiguration == "WORKER_IP_PRIVATE"
    error_message = "workers would have external addresses"
  }

  assert {
    condition     = jsondecode(base64decode(google_cloud_scheduler_job.batch[0].http_target[0].body)).launchParameter.environment.serviceAccountEmail == "celes-worker@my-sales-1234.iam.gserviceaccount.com"
    error_message = "the job does not run as the worker's account"
  }

  assert {
    condition     = length(google_dataflow_flex_template_job.streaming) == 0
    error_message = "the streaming job is planned, and was not asked for"
  }
}

run "stream" {
  command = plan

  variables {
    image_version = "0.1.0"
    streaming     = true
  }

  assert {
    condition     = google_dataflow_flex_template_job.streaming[0].on_delete == "drain" && google_dataflow_flex_template_job.streaming[0].enable_streaming_engine
    error_message = "a streaming job is drained, and uses Streaming Engine"
  }

  assert {
    condition     = google_dataflow_flex_template_job.streaming[0].ip_configuration == "WORKER_IP_PRIVATE" && endswith(google_dataflow_flex_template_job.streaming[0].kms_key_name, "/cryptoKeys/dataflow")
    error_message = "the streaming job is not private, or has no key"
  }

  assert {
    condition     = !contains(keys(google_dataflow_flex_template_job.streaming[0].parameters), "live_windows")
    error_message = "the streaming job has live windows that were not asked for"
  }
}

run "landing_keeps_files_unless_told" {
  command = plan

  variables {
    landing_delete_after_days = 400
  }

  assert {
    condition     = length([for rule in google_storage_bucket.landing.lifecycle_rule : rule if rule.action[*].type == tolist(["Delete"]) && rule.condition[*].age == tolist([400])]) == 1
    error_message = "landing_delete_after_days makes no rule of the bucket"
  }
}

run "github_is_one_branch_of_one_repository" {
  command = plan

  variables {
    github_repository = "my-company/celes-beam"
  }

  assert {
    condition     = google_iam_workload_identity_pool_provider.github[0].attribute_condition == "assertion.repository == \"my-company/celes-beam\" && assertion.ref == \"refs/heads/main\""
    error_message = "other repositories or branches may sign in"
  }
}

run "a_budget_tells_five_at_most" {
  command = plan

  variables {
    billing_account = "012345-6789AB-CDEF01"
    alert_emails    = ["a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com", "f@example.com"]
  }

  assert {
    condition     = length(google_billing_budget.month[0].all_updates_rule[0].monitoring_notification_channels) == 5
    error_message = "a budget takes five channels"
  }
}

run "a_budget_may_tell_nobody" {
  command = plan

  variables {
    billing_account = "012345-6789AB-CDEF01"
  }

  assert {
    condition     = length(google_billing_budget.month[0].all_updates_rule) == 0
    error_message = "an empty rule is refused"
  }
}

run "a_stream_needs_an_image" {
  command = plan

  variables {
    streaming = true
  }

  expect_failures = [var.streaming]
}

run "the_whole_world_is_nobody" {
  command = plan

  variables {
    publishers     = ["allUsers"]
    uploaders      = ["allAuthenticatedUsers"]
    launchers      = ["allUsers"]
    report_viewers = ["allUsers"]
    report_editors = ["allUsers"]
  }

  expect_failures = [var.publishers, var.uploaders, var.launchers, var.report_viewers, var.report_editors]
}
