-- Reading forge_audit: the changes of one row, or of all rows of a resource.

-- name: log
-- The newest first. forge_named: whether the reader may see the names and emails of users. $tenant and $row are conditions.
select a.id, resource_id, operation, version, actor, request_id, a.created_at, changes, reason,
  coalesce(u.name, ''), coalesce(u.email, '')
from forge_audit a
left join forge_user u on %(forge_named)s::boolean
  and u.id = case when actor ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$$' then actor::uuid end
where topic = %(forge_topic)s and $tenant and $row
  and (%(forge_before)s::bigint is null or a.id < %(forge_before)s::bigint)
order by a.id desc
limit %(forge_limit)s
