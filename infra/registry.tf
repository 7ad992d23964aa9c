resource "google_artifact_registry_repository" "images" {
  location      = var.region
  repository_id = "celes-beam"
  description   = "Image of launcher and workers."
  format        = "DOCKER"
  kms_key_name  = local.key_path["registry"]
  labels        = var.labels

  # A version is one image for ever, so that it can be told which code ran.
  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "untagged"
    action = "DELETE"

    condition {
      tag_state  = "UNTAGGED"
      older_than = "2592000s"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}
