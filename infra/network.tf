# Workers have no address that the internet knows and no way there: they reach each other, and
# Google's services by their private addresses (private.googleapis.com).

locals {
  google_range     = "199.36.153.8/30"
  google_addresses = [for i in range(4) : cidrhost(local.google_range, i)]
  google_domains   = toset(["googleapis.com", "pkg.dev", "gcr.io"])
  # Dataflow gives its workers this tag.
  worker_tag = "dataflow"
}

resource "google_compute_network" "celes" {
  name                            = "celes"
  description                     = "Workers of Dataflow, without a route to the internet."
  auto_create_subnetworks         = false
  delete_default_routes_on_create = true

  depends_on = [google_project_service.api]
}

resource "google_compute_subnetwork" "dataflow" {
  # checkov:skip=CKV_GCP_76:The subnet has IPv4 addresses alone; there is no IPv6 to keep private.
  name                     = "celes-dataflow"
  network                  = google_compute_network.celes.id
  region                   = var.region
  ip_cidr_range            = var.worker_cidr
  private_ip_google_access = true
  stack_type               = "IPV4_ONLY"

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_route" "google" {
  name             = "celes-google-apis"
  description      = "Google's services at their private addresses; the packets stay in Google's network."
  network          = google_compute_network.celes.id
  dest_range       = local.google_range
  next_hop_gateway = "default-internet-gateway"
}

resource "google_compute_firewall" "workers" {
  name        = "celes-workers"
  description = "Workers exchange shuffled rows (12345) and streaming state (12346)."
  network     = google_compute_network.celes.id
  direction   = "INGRESS"
  source_tags = [local.worker_tag]
  target_tags = [local.worker_tag]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}

resource "google_compute_firewall" "to_workers" {
  name               = "celes-to-workers"
  description        = "The other end of celes-workers."
  network            = google_compute_network.celes.id
  direction          = "EGRESS"
  destination_ranges = [var.worker_cidr]
  target_tags        = [local.worker_tag]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}

resource "google_compute_firewall" "to_google" {
  name               = "celes-to-google-apis"
  description        = "Google's services at their private addresses."
  network            = google_compute_network.celes.id
  direction          = "EGRESS"
  destination_ranges = [local.google_range]

  allow {
    protocol = "tcp"
    ports    = ["443"]
  }
}

resource "google_compute_firewall" "to_nowhere" {
  name               = "celes-to-nowhere-else"
  description        = "Nothing else leaves the network."
  network            = google_compute_network.celes.id
  direction          = "EGRESS"
  priority           = 65000
  destination_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_dns_managed_zone" "google" {
  for_each = local.google_domains

  name        = "celes-${replace(each.value, ".", "-")}"
  description = "Names of Google's services, for the workers: their private addresses."
  dns_name    = "${each.value}."
  visibility  = "private"
  labels      = var.labels

  private_visibility_config {
    networks {
      network_url = google_compute_network.celes.id
    }
  }
}

resource "google_dns_record_set" "addresses" {
  for_each = local.google_domains

  managed_zone = google_dns_managed_zone.google[each.value].name
  name         = each.value == "googleapis.com" ? "private.googleapis.com." : "${each.value}."
  type         = "A"
  ttl          = 300
  rrdatas      = local.google_addresses
}

resource "google_dns_record_set" "names" {
  for_each = local.google_domains

  managed_zone = google_dns_managed_zone.google[each.value].name
  name         = "*.${each.value}."
  type         = "CNAME"
  ttl          = 300
  rrdatas      = [google_dns_record_set.addresses[each.value].name]
}
