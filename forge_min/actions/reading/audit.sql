-- Reading forge_audit: the changes of one row.

-- name: log
-- The newest first. `is not distinct from`: NULL stands for resources that belong to no tenant.
select id, operation, version, actor, request_id, created_at, changes
from forge_audit
where topic = %(forge_topic)s and resource_id = %(forge_id)s
  and tenant_id is not distinct from %(forge_tenant)s
  and (%(forge_before)s::bigint is null or id < %(forge_before)s::bigint)
order by id desc
limit %(forge_limit)s
