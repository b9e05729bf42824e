Users, tenants, memberships, API keys, sessions, passwords. The parameters are digests: no statement receives a secret.

-- name: create_user
insert into forge_user (email, name, roles) values (lower(%(email)s), %(name)s, %(roles)s::text[])
on conflict (email) do nothing returning id

-- By email or id.
-- name: user
select id, email, name, roles, time_zone, language, disabled_at is not null
from forge_user where email = lower(%(email)s) or id = %(id)s::uuid

-- Users by email, each with its roles by tenant. If a tenant is named, only its members.
-- name: users
select u.id, u.email, u.name, u.roles, u.time_zone, u.language, u.disabled_at is not null,
  coalesce(jsonb_object_agg(t.slug, m.roles) filter (where t.id is not null), '{}')
from forge_user u
left join forge_membership m on m.user_id = u.id
left join forge_tenant t on t.id = m.tenant_id
where u.email > %(after)s and (%(id)s::uuid is null or u.id = %(id)s)
  and (%(tenant)s::uuid is null
    or exists (select from forge_membership o where o.user_id = u.id and o.tenant_id = %(tenant)s))
  and strpos(lower(u.email || ' ' || u.name), lower(%(words)s)) > 0
group by u.id order by u.email limit %(limit)s

-- name: set_disabled
update forge_user set disabled_at = case when %(disabled)s then coalesce(disabled_at, now()) end
where id = %(user)s returning id

-- name: change_settings
update forge_user set time_zone = %(time_zone)s, language = %(language)s where id = %(user)s returning id

-- name: memberships
select t.id, t.slug, t.name from forge_membership m join forge_tenant t on t.id = m.tenant_id
where m.user_id = %(user)s order by t.slug

-- name: grant_user
update forge_user set roles = array(select distinct role from unnest(roles || %(roles)s::text[]) role order by role)
where id = %(user)s returning roles

-- name: ungrant_user
update forge_user set roles = array(select role from unnest(roles) role where role <> all(%(roles)s::text[]))
where id = %(user)s returning roles

-- name: grant_member
insert into forge_membership as m (user_id, tenant_id, roles) values (%(user)s, %(tenant)s, %(roles)s::text[])
on conflict (user_id, tenant_id) do update
set roles = array(select distinct role from unnest(m.roles || excluded.roles) role order by role)
returning roles

-- name: ungrant_member
update forge_membership set roles = array(
  select role from unnest(roles) role where role <> all(%(roles)s::text[]))
where user_id = %(user)s and tenant_id = %(tenant)s returning roles

-- name: leave
delete from forge_membership where user_id = %(user)s and tenant_id = %(tenant)s returning tenant_id

-- name: create_tenant
insert into forge_tenant (slug, name) values (%(slug)s, %(name)s) on conflict (slug) do nothing returning id

-- name: tenant
select id, slug, name from forge_tenant where slug = lower(%(slug)s) or id = %(id)s::uuid

-- name: tenants
select t.id, t.slug, t.name, (select count(*) from forge_membership m where m.tenant_id = t.id)
from forge_tenant t order by t.slug

-- name: create_key
insert into forge_token (key, hint, user_id, tenant_id, name, roles, expires_at)
values (%(key)s, %(hint)s, %(user)s, %(tenant)s, %(name)s, %(roles)s::text[],
  now() + %(seconds)s::float8 * interval '1 second')
returning id

-- The keys of one user, or the valid ones of all. If a tenant is named, only those of its members that are restricted to it.
-- name: keys
select t.id, t.hint, t.name, t.roles, n.slug, t.created_at, t.seen_at, t.expires_at, t.revoked_at, u.id, u.email
from forge_token t join forge_user u on u.id = t.user_id left join forge_tenant n on n.id = t.tenant_id
where (t.user_id = %(user)s or %(user)s::uuid is null and t.revoked_at is null)
  and (%(after)s::uuid is null or t.id > %(after)s)
  and (%(tenant)s::uuid is null or exists (
    select from forge_membership m where m.user_id = t.user_id and m.tenant_id = t.tenant_id and m.tenant_id = %(tenant)s))
order by t.id limit %(limit)s

-- name: revoke_key
update forge_token t set revoked_at = now()
where revoked_at is null and (id = %(id)s::uuid or hint = %(hint)s)
  and (%(tenant)s::uuid is null or exists (
    select from forge_membership m where m.user_id = t.user_id and m.tenant_id = t.tenant_id and m.tenant_id = %(tenant)s))
returning user_id, hint, (select slug from forge_tenant n where n.id = t.tenant_id)

-- Revokes the keys of a user, as the user. The history has each, as in record_change.
-- name: revoke_all_keys
with revoked as (
  update forge_token set revoked_at = now() where user_id = %(user)s and revoked_at is null
  returning hint, tenant_id
)
insert into forge_audit (topic, resource_id, operation, version, actor, changes)
select 'forge_user', %(user)s::text, 'update', 0, %(user)s::text,
  jsonb_build_object(concat_ws(':', 'key', n.slug), jsonb_build_array(r.hint, ''))
from revoked r left join forge_tenant n on n.id = r.tenant_id
returning id

-- The identity of a key: its id, the user, an empty name, the user's roles, the roles of the key (null: all), and the
-- requested tenant, or that of the key, with the roles of the membership there (null: not a member). Then whether
-- seen_at is due: it is written once a minute at most.
-- name: by_key
with found as (
  select t.id, t.roles as scope, t.tenant_id as bound, t.seen_at, u.id as user_id, u.roles, u.time_zone,
    u.language
  from forge_token t join forge_user u on u.id = t.user_id
  where t.key = %(key)s and t.revoked_at is null
    and (t.expires_at is null or t.expires_at > now()) and u.disabled_at is null
)
select f.id, f.user_id, '', f.roles, f.scope, f.time_zone, f.language, f.bound, n.id, m.roles,
  f.seen_at is null or f.seen_at < now() - interval '1 minute'
from found f
left join forge_tenant n on n.slug = lower(%(slug)s) or n.id = coalesce(%(id)s::uuid,
  case when %(slug)s = '' then f.bound end)
left join forge_membership m on m.user_id = f.user_id and m.tenant_id = n.id

-- The present state of a key that identified a user before.
-- name: key_by_now
select u.roles, t.roles, u.time_zone, u.language, m.roles
from forge_token t join forge_user u on u.id = t.user_id
left join forge_membership m on m.user_id = u.id and m.tenant_id = %(tenant)s::uuid
where t.id = %(id)s::uuid and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
  and u.disabled_at is null

-- The password of an account that is not disabled.
-- name: password
select id, password from forge_user where email = lower(%(email)s) and disabled_at is null

-- Locks the password until the end of the transaction.
-- name: hold_password
select id from forge_user where id = %(user)s and password = %(kept)s and disabled_at is null for no key update

-- name: has_password
select password is not null from forge_user where id = %(user)s for no key update

-- The first password of an account ends the keys that administrators created for it: they know them.
-- name: set_password
with first as (select id::text from forge_user where id = %(user)s and password is null),
ended as (
  update forge_token t set revoked_at = now()
  from first, forge_audit a, jsonb_each(a.changes) change
  where t.user_id = %(user)s and t.revoked_at is null and a.topic = 'forge_user' and a.resource_id = first.id
    and a.actor not in ('', 'system', first.id) and split_part(change.key, ':', 1) = 'key' and change.value ->> 1 = t.hint
)
update forge_user
set password = %(password)s, password_at = now(), reset_key = null, reset_until = null
where id = %(user)s returning id

-- The row of the user is locked first, as in by_reset, to avoid deadlocks. An invitation by the administrator of a tenant
-- counts as asked: it must not end the links of operators. It ends earlier ones to the tenant: their roles may be wrong.
-- name: create_reset
with owner as (select id from forge_user where id = %(user)s for update),
over as (
  delete from forge_reset r using owner
  where r.user_id = owner.id and (
    r.expires_at <= now()
    or (r.joins <> '' and split_part(r.joins, ' ', 1) = split_part(%(joins)s, ' ', 1))
    or r.key in (
      select key from forge_reset where user_id = %(user)s and not asked and not %(asked)s and %(joins)s = ''
      order by expires_at desc, key offset %(others)s))
)
insert into forge_reset (key, user_id, asked, joins, expires_at)
select %(key)s, id, %(asked)s or %(joins)s <> '', %(joins)s, now() + %(seconds)s::float8 * interval '1 second' from owner
returning user_id

-- If another transaction has used the link, the row does not exist any more when it can be locked.
-- name: by_reset
select u.id, u.email, u.name, u.roles, u.time_zone, u.language, u.disabled_at is not null
from forge_reset r join forge_user u on u.id = r.user_id
where r.key = %(key)s and r.expires_at > now() and u.disabled_at is null
for update of u, r

-- Makes the owner of a link a member of the tenant that it joins, if any, which the history has as in record_change: the
-- author is the administrator that has chosen the roles.
-- name: join
with link as (
  select r.user_id, t.id as tenant_id, t.slug, split_part(r.joins, ' ', 2) as author, array(
    select distinct role from unnest((string_to_array(r.joins, ' '))[3:]) role where role <> '' order by role) as roles
  from forge_reset r join forge_tenant t on t.id = nullif(split_part(r.joins, ' ', 1), '')::uuid
  where r.key = %(key)s
),
joined as (
  insert into forge_membership as m (user_id, tenant_id, roles) select user_id, tenant_id, roles from link
  on conflict (user_id, tenant_id) do update
  set roles = array(select distinct role from unnest(m.roles || excluded.roles) role order by role)
  returning roles
)
insert into forge_audit (topic, resource_id, operation, version, actor, changes)
select 'forge_user', user_id::text, 'update', 0, author,
  jsonb_build_object('roles:' || slug, jsonb_build_array(null, joined.roles))
from link, joined
returning id

-- name: end_resets
delete from forge_reset where user_id = %(user)s returning key

-- A new session also deletes expired ones.
-- name: start_session
with ended as (
  delete from forge_session where key = %(before)s or key in (
    select key from forge_session where expires_at < now() limit 100 for update skip locked)
), recorded as (
  insert into forge_audit (topic, resource_id, operation, version, actor, changes)
  values ('forge_user', %(user)s::text, 'update', 0, %(user)s::text,
    jsonb_build_object('sign_in', jsonb_build_array('', %(address)s::text)))
)
insert into forge_session (key, user_id, address, agent, expires_at)
values (%(key)s, %(user)s, %(address)s, %(agent)s, now() + %(seconds)s::float8 * interval '1 second')
returning id

-- Its commit need not wait for the disk or a standby.
-- name: key_seen
update forge_token set seen_at = now()
where id = %(id)s and set_config('synchronous_commit', 'off', true) = 'off'

-- With an idle timeout, expires_at is moved whenever seen_at is written, so that all other statements need no further
-- condition. The minute between two writes is added, so that no session ends early.
-- The same columns as by_key: the session, its user, and the requested tenant with the roles of the membership there
-- (null: not a member).
-- name: by_session
with found as (
  select s.id, s.seen_at, s.expires_at, u.id as user_id, coalesce(nullif(u.name, ''), u.email) as name, u.roles, u.time_zone,
    u.language
  from forge_session s join forge_user u on u.id = s.user_id
  where s.key = %(key)s and s.expires_at > now() and u.disabled_at is null
    and (%(idle_timeout)s::float8 = 0 or s.seen_at > now() - (60 + %(idle_timeout)s) * interval '1 second')
)
select f.id, f.user_id, f.name, f.roles, null, f.time_zone, f.language, null, n.id, m.roles,
  (f.seen_at < now() - interval '1 minute' and not %(is_background)s::boolean)
    or (%(idle_timeout)s > 0 and f.expires_at > now() + (60 + %(idle_timeout)s) * interval '1 second')
from found f
left join forge_tenant n on n.slug = lower(%(slug)s) or n.id = %(id)s::uuid
left join forge_membership m on m.user_id = f.user_id and m.tenant_id = n.id

-- name: session_seen
update forge_session set seen_at = now(), expires_at = case
  when %(idle_timeout)s::float8 = 0 then expires_at
  else least(created_at + %(lifetime)s::float8 * interval '1 second',
    now() + (60 + %(idle_timeout)s) * interval '1 second') end
where id = %(id)s and set_config('synchronous_commit', 'off', true) = 'off'

-- name: session_by_now
select u.roles, null, u.time_zone, u.language, m.roles
from forge_session s join forge_user u on u.id = s.user_id
left join forge_membership m on m.user_id = u.id and m.tenant_id = %(tenant)s::uuid
where s.id = %(id)s::uuid and s.expires_at > now() and u.disabled_at is null

-- name: sessions
select id, address, agent, created_at, seen_at, expires_at
from forge_session where user_id = %(user)s and expires_at > now() order by created_at desc, id

-- name: end_sessions
with ended as (
  delete from forge_session
  where user_id = %(user)s and (%(id)s::uuid is null or id = %(id)s) and (%(but)s::uuid is null or id <> %(but)s)
  returning id, address
), recorded as (
  insert into forge_audit (topic, resource_id, operation, version, actor, changes)
  select 'forge_user', %(user)s::text, 'update', 0, %(actor)s,
    jsonb_build_object('sign_out', jsonb_build_array(address, ''))
  from ended
)
select id from ended

-- Counts an attempt if the bucket has capacity. A bucket is stored as the time when it is unused again: an attempt adds
-- `every`.
-- name: count
insert into forge_throttle as t (key, until, burst)
values (%(key)s, now() + %(every)s::float8 * interval '1 second', %(burst)s::float8 * interval '1 second')
on conflict (key) do update
set until = greatest(t.until, now()) + (excluded.until - now()), burst = excluded.burst
where t.until <= now() + excluded.burst
returning key

-- The seconds until the first of these buckets has capacity.
-- name: wait
select ceil(min(extract(epoch from until - now() - burst))) from forge_throttle where key = any(%(keys)s::text[])

-- name: sweep
delete from forge_throttle where key in (
  select key from forge_throttle where until < now() limit 100 for update skip locked)
returning key

-- Locks in the order of `count`, to avoid deadlocks.
-- name: give_back
with given as (
  select * from unnest(%(keys)s::text[], %(seconds)s::float8[]) with ordinality as g(key, seconds, place)
),
locked as (
  select t.key, g.seconds from forge_throttle t join given g on g.key = t.key order by g.place for update of t
)
update forge_throttle t set until = t.until - l.seconds * interval '1 second'
from locked l where t.key = l.key
returning t.key

-- A row that exists until it expires: this network has signed in to this account.
-- name: know
insert into forge_throttle (key, until, burst)
values (%(key)s, now() + %(seconds)s::float8 * interval '1 second', '0')
on conflict (key) do update set until = excluded.until
returning key

-- name: is_known
select key from forge_throttle where key = %(key)s and until > now()

-- The failed sign-ins of an account: keys as in auth.signing.
-- name: forget_attempts
delete from forge_throttle
where key like any(array[
  'here ' || %(account)s || ' %%', 'account ' || %(account)s, 'first ' || %(account)s || ' %%', 'correct ' || %(account)s,
  'device ' || %(account)s || ' %%'])
returning key

-- name: lock_administration
select pg_advisory_xact_lock(hashtextextended('forge administration', 0))

-- One administrator of a tenant, or without one, of all tenants, that can sign in.
-- name: administrators
select u.id from forge_user u
where u.disabled_at is null and u.password is not null and (u.roles && %(roles)s::text[] or exists (
  select from forge_membership m join forge_tenant t on t.id = m.tenant_id
  where m.user_id = u.id and t.slug = %(slug)s and m.roles && %(roles)s::text[]))
limit 1

-- The history of users and tenants belongs to no tenant, so that administrators of all tenants can read it.
-- name: record_change
insert into forge_audit (topic, resource_id, operation, version, actor, request_id, changes)
values (%(topic)s, %(id)s, %(operation)s, 0, %(actor)s, %(request)s, %(changes)s)
returning id

-- name: record_export
insert into forge_audit (topic, resource_id, operation, version, actor, changes)
select 'forge_user', %(user)s, 'update', 0, %(user)s, jsonb_build_object('export', jsonb_build_array('', %(topic)s::text))
returning id

-- A failed sign-in; its author is unknown. At most 30 at once and one a minute are recorded for each account, because
-- guesses may come from any number of networks. It is counted without an account, too: otherwise the time that the
-- write takes would reveal whether there is one.
-- name: record_failure
with counted as (
  insert into forge_throttle as t (key, until, burst)
  values (%(key)s, now() + interval '1 minute', interval '29 minutes')
  on conflict (key) do update set until = greatest(t.until, now()) + interval '1 minute'
  where t.until <= now() + interval '29 minutes'
  returning key
)
insert into forge_audit (topic, resource_id, operation, version, changes)
select 'forge_user', id::text, 'update', 0, jsonb_build_object('failed_sign_in', jsonb_build_array('', %(address)s::text))
from forge_user, counted where email = lower(%(email)s)
returning id

-- The latest changes of one row or of all, and as many uses: sign-ins, ended sessions and exports. With slugs, only
-- those of these tenants and, with account, of the account itself. With a tenant, only its members are named as authors.
-- name: changes
select a.created_at, case when %(tenant)s::uuid is null then a.actor else '' end, coalesce(u.name, ''),
  coalesce(u.email, ''), a.changes
from (values (false), (true)) kinds (is_use)
cross join lateral (
  select * from forge_audit
  where topic = %(topic)s and (%(id)s::text is null or resource_id = %(id)s)
    and (%(slugs)s::text[] is null or coalesce((
      select bool_and(case when name like '%%:%%' then split_part(name, ':', 2) = any(%(slugs)s) else %(account)s end)
      from jsonb_object_keys(changes) name), %(account)s))
    and (changes ?| array['sign_in', 'failed_sign_in', 'sign_out', 'export']) = is_use
  order by id desc limit 20) a
left join forge_user u
  on u.id = case when actor ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then actor::uuid end
  and (%(tenant)s::uuid is null
    or exists (select from forge_membership m where m.user_id = u.id and m.tenant_id = %(tenant)s))
order by a.id desc
