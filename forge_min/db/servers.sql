-- Questions to one server: which one it is, how far it is, and which commits wait for a standby.

-- name: identify
select (select system_identifier::text from pg_control_system()),
  case when not pg_is_in_recovery() then substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end,
  extract(epoch from clock_timestamp())::float8

-- Cluster, whether it is a standby, timeline, and the position up to which everything is visible, in bytes. The timeline
-- of a standby is that of its control file, which may be older than the WAL that it has replayed.
-- name: sample
select (select system_identifier::text from pg_control_system()), pg_is_in_recovery(),
  case when pg_is_in_recovery()
    then upper(lpad(to_hex(greatest((pg_control_checkpoint()).timeline_id,
      (pg_control_recovery()).min_recovery_end_timeline)), 8, '0'))
    else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end,
  (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end
    - '0/0')::bigint

-- Sessions of any process: behind a pooler the pids of this process's connections are not known.
-- name: waiting
select pid, xact_start from pg_stat_activity
where wait_event = 'SyncRep' and usename = session_user and datname = current_database()

-- SAFETY: a cancel that arrives late would hit the next statement of the session. A session that is terminated is lost in
-- any case: in its commit (F409), or with a statement that is rolled back.
-- name: end_waiting
select pg_terminate_backend(pid) from pg_stat_activity
where pid = %s and xact_start = %s and wait_event = 'SyncRep'

-- The smallest commit with WAL.
-- name: commit
select pg_logical_emit_message(true, 'forge', '')
