-- Settings of a session or of its transaction.

-- name: tenant
select set_config('forge.tenant_id', %s, true)

-- name: scope
select set_config('forge.tenant_id', %(tenant)s, true),
  set_config('transaction_read_only', %(read_only)s, true)

-- Without effect behind a pooler, which reports another backend number.
-- name: lock_timeout
select set_config('lock_timeout', %s, false) where pg_backend_pid() = %s
