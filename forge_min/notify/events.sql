The statements on forge_event and forge_boot, except the fragment for actions (eventlog.py).

-- name: publish
insert into forge_event (tenant_id, topic, kind, resource_id, version, changed, payload)
values (%(tenant_id)s::uuid, %(topic)s, %(kind)s, %(resource_id)s, %(version)s, %(changed)s::text[], %(payload)s);

-- name: notify
-- The commit of a notification need not wait for the disk.
select at, set_config('synchronous_commit', 'off', true),
  pg_notify('forge', payload || E'\n' || %(id)s::text || ' ' || at)
from unnest(%(payloads)s::text[]) payload, extract(epoch from clock_timestamp()) at;

-- name: notify_in_transaction
select pg_notify('forge', 'e');

-- name: listen
listen forge;

-- name: identify
select pg_is_in_recovery(),
  case when not pg_is_in_recovery() then
    (select system_identifier::text from pg_control_system())
    || '.' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
  end;

-- Returns the rows that the snapshot `seen` could not see, and with each the new snapshot; whether `seen` is of
-- the current boot; whether all rows that it could not see are still in the log; its xmin; the time.
-- name: read
select e.topic, e.kind, e.resource_id, e.version, coalesce(e.changed, '{}'), e.payload, e.tenant_id, e.id, e.created_at,
  pg_current_snapshot()::text,
  b.token is not distinct from %(token)s
    and pg_snapshot_xmax(pg_current_snapshot()) >= pg_snapshot_xmax(%(seen)s::pg_snapshot),
  coalesce(b.deleted_before <= pg_snapshot_xmin(%(seen)s::pg_snapshot), true),
  pg_snapshot_xmin(%(seen)s::pg_snapshot)::text, clock_timestamp()
from (select 1) one
left join (select token, deleted_before from forge_boot limit 1) b on true
left join (select * from (
    select * from forge_event where xid >= pg_snapshot_xmax(%(seen)s::pg_snapshot)
    union all
    select * from forge_event where xid = any(array(select pg_snapshot_xip(%(seen)s::pg_snapshot)))) u
  where xid < pg_snapshot_xmax(pg_current_snapshot()) limit 10001) e on true
order by e.id;

-- Returns the events that a client that has seen everything below xid `window` may have missed, at least one row.
-- No row: some are deleted, the xid is of another boot, or it is too far back in rows or in seconds.
-- name: since
with rows as materialized (
  select * from forge_event
  where xid >= %(window)s::xid8 and xid < pg_snapshot_xmax(pg_current_snapshot())
  order by xid limit 10001)
select e.topic, e.kind, e.resource_id, e.version, coalesce(e.changed, '{}'), e.payload, e.tenant_id, e.id, e.created_at
from forge_boot b
left join rows e on e.topic = %(topic)s and e.tenant_id is not distinct from %(tenant)s::uuid
where b.token = %(token)s and pg_snapshot_xmin(pg_current_snapshot()) >= %(window)s::xid8
  and coalesce(b.deleted_before <= %(window)s::xid8, true) and (select count(*) from rows) <= 10000
  and (select coalesce(min(created_at) >= now() - %(within)s * interval '1 second', true) from rows)
order by e.id;

-- name: position
select pg_current_snapshot()::text, (select token from forge_boot limit 1);

-- name: lock_boot
lock table forge_boot in share row exclusive mode;

-- name: forget_boot
delete from forge_boot;

-- name: boot
insert into forge_boot (token) values (%(token)s);

-- Rows of another cluster, or with xids lost in a crash: all visible rows of this boot have lower xids.
-- name: delete_ahead
delete from forge_event where xid >= pg_snapshot_xmax(pg_current_snapshot());

-- Eight marks, one per eighth of the retention: when the next is due, the oldest is one retention old.
-- name: mark
update forge_boot set
  deleted_before = case when cardinality(marks) >= 8 then marks[1] else deleted_before end,
  marks = (marks || pg_snapshot_xmin(pg_current_snapshot()))[greatest(1, cardinality(marks) - 6):],
  marked_at = now()
where marked_at <= now() - %(period)s * interval '1 second';

-- name: delete_old
delete from forge_event where ctid = any(array(
  select ctid from forge_event where xid < (select deleted_before from forge_boot limit 1)
  order by xid limit %(limit)s for update skip locked));
