Users, tenants, who belongs to which, and API keys. Digests come in: no statement sees a secret.

-- name: create_user
insert into forge_user (email, name, roles) values (lower(%(email)s), %(name)s, %(roles)s::text[])
on conflict (email) do nothing returning id

-- By email or id.
-- name: user
select id, email, name, roles, time_zone, language, disabled_at is not null
from forge_user where email = lower(%(email)s) or id = %(id)s::uuid

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

-- name: create_key
insert into forge_token (key, hint, user_id, tenant_id, name, roles, expires_at)
values (%(key)s, %(hint)s, %(user)s, %(tenant)s, %(name)s, %(roles)s::text[],
  now() + %(seconds)s::float8 * interval '1 second')
returning id

-- name: keys
select t.id, t.hint, t.name, t.roles, n.slug, t.created_at, t.seen_at, t.expires_at, t.revoked_at
from forge_token t left join forge_tenant n on n.id = t.tenant_id
where t.user_id = %(user)s order by t.id

-- name: revoke_key
update forge_token set revoked_at = now()
where revoked_at is null and (id = %(id)s::uuid or hint = %(hint)s)
returning id

-- Who a key stands for: its id, the user, its roles, those that the key has of them (null: all), and the tenant that is
-- asked for, or that the key is for, with the roles there (null: no member). seen_at is written once a minute at most.
-- name: by_key
with found as (
  select t.id, t.roles as scope, t.tenant_id as bound, t.seen_at, u.id as user_id, u.roles, u.time_zone,
    u.language
  from forge_token t join forge_user u on u.id = t.user_id
  where t.key = %(key)s and t.revoked_at is null
    and (t.expires_at is null or t.expires_at > now()) and u.disabled_at is null
),
seen as (
  update forge_token set seen_at = now()
  where id in (select id from found where seen_at is null or seen_at < now() - interval '1 minute')
)
select f.id, f.user_id, f.roles, f.scope, f.time_zone, f.language, f.bound, n.id, m.roles
from found f
left join forge_tenant n on n.slug = lower(%(slug)s) or n.id = coalesce(%(id)s::uuid,
  case when %(slug)s = '' then f.bound end)
left join forge_membership m on m.user_id = f.user_id and m.tenant_id = n.id

-- The same, of somebody who called a moment ago.
-- name: by_now
select u.roles, t.roles, u.time_zone, u.language, m.roles
from forge_token t join forge_user u on u.id = t.user_id
left join forge_membership m on m.user_id = u.id and m.tenant_id = %(tenant)s::uuid
where t.id = %(id)s::uuid and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
  and u.disabled_at is null
