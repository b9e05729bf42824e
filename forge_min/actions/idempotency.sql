All statements on forge_idempotency. Times are those of the database.

-- name: lock
select pg_try_advisory_xact_lock(hashtextextended(%(scope)s::text || ' ' || %(key)s::text, 0))

-- name: find
select request_hash, status, headers, body from forge_idempotency
where scope = %(scope)s and key = %(key)s and created_at > now() - interval '24 hours'

-- The commit of this message waits until a synchronous standby has it, and everything before it.
-- name: confirm
with message as materialized (select pg_logical_emit_message(true, 'forge', '')) select from message

-- name: keep
with old as (
  delete from forge_idempotency where ctid = any(array(
    select ctid from forge_idempotency
    where created_at <= now() - interval '24 hours' and (scope, key) <> (%(scope)s::text, %(key)s::text)
    order by created_at limit 10 for update skip locked))
)
insert into forge_idempotency as kept (scope, key, request_hash, status, headers, body)
values (%(scope)s, %(key)s, %(hash)s, %(status)s, %(headers)s, %(body)s)
on conflict (scope, key) do update set request_hash = excluded.request_hash, status = excluded.status,
  headers = excluded.headers, body = excluded.body, created_at = now()
