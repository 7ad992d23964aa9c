SELECT * FROM `${project}.${dataset}.${table}` WHERE TRUE QUALIFY _message_id IS NULL OR ROW_NUMBER() OVER (PARTITION BY _message_id ORDER BY _ingested_at) = 1
