variable "project" {
  description = "Project that all of this is made in, and that holds nothing else: some roles of Dataflow can be given for a whole project only."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project = \"${var.project}\": expected the id of a project, 6 to 30 of a-z, 0-9 and '-', such as \"my-sales-1234\" (gcloud projects list)."
  }
}

variable "project_number" {
  description = "Number of that project, by which Google names its service agents: gcloud projects describe PROJECT --format='value(projectNumber)'."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[1-9][0-9]{5,18}$", var.project_number))
    error_message = "project_number = \"${var.project_number}\": expected the project's number, digits alone (gcloud projects describe PROJECT --format='value(projectNumber)')."
  }
}

variable "region" {
  description = "Region of the jobs, and of every bucket, table, topic and key: a key of another region encrypts nothing there."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[1-9][0-9]*$", var.region))
    error_message = "region = \"${var.region}\": expected one region, such as \"europe-west1\"; a zone (europe-west1-b) or a multi-region (EU) has no workers of Dataflow or no keys."
  }
}

variable "labels" {
  description = "Labels of all that can have them."
  type        = map(string)
  default     = { application = "celes-beam" }
  nullable    = false

  validation {
    condition = alltrue([
      for key, value in var.labels :
      can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))
    ])
    error_message = "labels: keys and values have at most 63 of a-z, 0-9, '_' and '-', and a key begins with a letter, such as { team = \"sales\" }."
  }
}

variable "worker_cidr" {
  description = "Addresses of the workers' subnet; a /24 has room for 252 workers."
  type        = string
  default     = "10.20.0.0/24"
  nullable    = false

  validation {
    condition     = try(cidrsubnet(var.worker_cidr, 0, 0) == var.worker_cidr, false) && can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.).*/(1[6-9]|2[0-8])$", var.worker_cidr))
    error_message = "worker_cidr = \"${var.worker_cidr}\": expected a private range between /16 and /28 by its first address, such as \"10.20.0.0/24\"."
  }
}

variable "key_rotation_days" {
  description = "Days after which each key gets a new version; older versions still decrypt what they encrypted."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.key_rotation_days >= 1 && var.key_rotation_days <= 90 && floor(var.key_rotation_days) == var.key_rotation_days
    error_message = "key_rotation_days = ${var.key_rotation_days}: expected whole days between 1 and 90."
  }
}

variable "landing_delete_after_days" {
  description = "Days after which a file in the landing bucket is deleted; 0 keeps all of them, as replays of rejected rows like it."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.landing_delete_after_days >= 0 && floor(var.landing_delete_after_days) == var.landing_delete_after_days
    error_message = "landing_delete_after_days = ${var.landing_delete_after_days}: expected whole days, or 0 to keep all files."
  }
}

variable "publishers" {
  description = "Who may publish sales to the topic, such as serviceAccount:shop@PROJECT.iam.gserviceaccount.com."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for who in var.publishers : can(regex("^(user|group|serviceAccount|principal|principalSet):[^ ]+$", who))])
    error_message = "publishers: each is group:…, serviceAccount:…, user:…, principal:… or principalSet:…; allUsers and allAuthenticatedUsers would let in the whole world."
  }
}

variable "uploaders" {
  description = "Who may put files into the landing bucket, without reading or replacing any."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for who in var.uploaders : can(regex("^(user|group|serviceAccount|principal|principalSet):[^ ]+$", who))])
    error_message = "uploaders: each is group:…, serviceAccount:…, user:…, principal:… or principalSet:…; allUsers and allAuthenticatedUsers would let in the whole world."
  }
}

variable "launchers" {
  description = "Who may act as the launcher: people who start jobs, and CI by workload identity."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for who in var.launchers : can(regex("^(user|group|serviceAccount|principal|principalSet):[^ ]+$", who))])
    error_message = "launchers: each is group:…, serviceAccount:…, user:…, principal:… or principalSet:…; allUsers and allAuthenticatedUsers would let in the whole world."
  }
}

variable "report_viewers" {
  description = "Who may act as the reader of the sales, such as the service agent of Looker Studio."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for who in var.report_viewers : can(regex("^(user|group|serviceAccount|principal|principalSet):[^ ]+$", who))])
    error_message = "report_viewers: each is group:…, serviceAccount:…, user:…, principal:… or principalSet:…; allUsers and allAuthenticatedUsers would let in the whole world."
  }
}

variable "report_editors" {
  description = "Who may choose the reader of the sales as the credentials of a data source in Looker Studio: people who make reports."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for who in var.report_editors : can(regex("^(user|group|serviceAccount|principal|principalSet):[^ ]+$", who))])
    error_message = "report_editors: each is group:…, serviceAccount:…, user:…, principal:… or principalSet:…; allUsers and allAuthenticatedUsers would let in the whole world."
  }
}

variable "github_repository" {
  description = "OWNER/NAME of the repository on GitHub whose main branch may act as the launcher, without a key; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository = \"${coalesce(var.github_repository, "null")}\": expected OWNER/NAME, such as \"my-company/celes-beam\"."
  }
}

variable "image_version" {
  description = "Version of the image and templates that jobs run, once they are built; null before, and then there are no jobs."
  type        = string
  default     = null

  validation {
    condition     = var.image_version == null || can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_version))
    error_message = "image_version = \"${coalesce(var.image_version, "null")}\": expected the tag of an image, such as \"0.1.0\"."
  }

  validation {
    condition     = var.image_version != "latest"
    error_message = "image_version = \"latest\": expected the version that was built, such as \"0.1.0\"; nobody can tell which code ran as \"latest\"."
  }
}

variable "batch_schedule" {
  description = "When the batch job looks for new files, as cron has it."
  type        = string
  default     = "0 3 * * *"
  nullable    = false

  validation {
    condition     = can(regex("^[^ ]+( [^ ]+){4}$", var.batch_schedule))
    error_message = "batch_schedule = \"${var.batch_schedule}\": expected the five fields of cron (minute hour day month weekday), such as \"0 3 * * *\"."
  }
}

variable "batch_time_zone" {
  description = "Time zone of batch_schedule."
  type        = string
  default     = "Etc/UTC"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z]+(/[A-Za-z0-9_+-]+)+$", var.batch_time_zone))
    error_message = "batch_time_zone = \"${var.batch_time_zone}\": expected a name of the tz database, such as \"America/Bogota\"."
  }
}

variable "streaming" {
  description = "Whether the streaming job runs; it costs as long as it does."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.streaming || var.image_version != null
    error_message = "streaming = true: image_version is missing; build the image and templates first (celes-beam deploy build, celes-beam deploy template), and name their version."
  }
}

variable "live_windows" {
  description = "Length of the live windows of the streaming job, such as \"1m\"; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.live_windows == null || can(regex("^[1-9][0-9]*[smh]$", var.live_windows))
    error_message = "live_windows = \"${coalesce(var.live_windows, "null")}\": expected whole seconds, minutes or hours, such as \"30s\", \"1m\" or \"1h\"."
  }
}

variable "worker_machine_type" {
  description = "Machine type of the workers."
  type        = string
  default     = "n2-standard-2"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*-[a-z]+(-[0-9]+)?$", var.worker_machine_type))
    error_message = "worker_machine_type = \"${var.worker_machine_type}\": expected a machine type, such as \"n2-standard-2\"."
  }
}

variable "max_workers" {
  description = "Most workers of one job."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.max_workers >= 1 && var.max_workers <= 1000 && floor(var.max_workers) == var.max_workers
    error_message = "max_workers = ${var.max_workers}: expected a whole number between 1 and 1000."
  }
}

variable "alert_emails" {
  description = "Addresses that alerts go to, 16 at most; budget warnings go to the first five."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.alert_emails) <= 16 && alltrue([for address in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alert_emails: at most 16, and each is an address, such as \"sales-data@example.com\"."
  }
}

variable "max_system_lag_seconds" {
  description = "Alert when the streaming job is behind by more."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.max_system_lag_seconds >= 60
    error_message = "max_system_lag_seconds = ${var.max_system_lag_seconds}: expected 60 or more; Dataflow measures once a minute."
  }
}

variable "max_backlog_seconds" {
  description = "Alert when the oldest message that nobody has taken is older."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.max_backlog_seconds >= 60
    error_message = "max_backlog_seconds = ${var.max_backlog_seconds}: expected 60 or more; Pub/Sub measures once a minute."
  }
}

variable "max_rejected_share" {
  description = "Alert when more of the rows of an hour are rejected."
  type        = number
  default     = 0.05
  nullable    = false

  validation {
    condition     = var.max_rejected_share > 0 && var.max_rejected_share < 1
    error_message = "max_rejected_share = ${var.max_rejected_share}: expected a share between 0 and 1, such as 0.05 for 5%."
  }
}

variable "max_hours_without_data" {
  description = "Alert when no row was read for so long."
  type        = number
  default     = 25
  nullable    = false

  validation {
    condition     = var.max_hours_without_data >= 1 && var.max_hours_without_data <= 25 && floor(var.max_hours_without_data) == var.max_hours_without_data
    error_message = "max_hours_without_data = ${var.max_hours_without_data}: expected whole hours between 1 and 25; Monitoring looks back no further."
  }
}

variable "billing_account" {
  description = "Billing account whose budget warns of what this project costs; null for no budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account = \"${coalesce(var.billing_account, "null")}\": expected its id, such as \"012345-6789AB-CDEF01\" (gcloud billing accounts list)."
  }
}

variable "monthly_budget" {
  description = "What a month may cost, in the billing account's currency; warnings at half, nine tenths and all of it. A budget stops nothing."
  type        = number
  default     = 200
  nullable    = false

  validation {
    condition     = var.monthly_budget >= 1 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "monthly_budget = ${var.monthly_budget}: expected a whole amount of 1 or more, in the billing account's currency."
  }
}
