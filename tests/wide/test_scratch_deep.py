"""scratch"""
from __future__ import annotations
import importlib, sys, time
from uuid import UUID, uuid4
import pytest
from forge_min import db
from forge_min.actions import ListQuery, Registry
from forge_min.actions.reading import listing
from forge_min.auth import Identity, as_identity
from forge_min.testing import fresh_database
pytestmark = pytest.mark.db
T=UUID(int=1)
def test_deep(wide_code, server):
    files = [*db.FORGE_MIGRATIONS, *db.read_migrations(wide_code / "migrations", "app")]
    with fresh_database(server, files) as database, as_identity(Identity(user="o",system=True,tenant=T)):
        reg=Registry(db.Database(database.app_url),{})
        importlib.import_module("gen.registry").register(reg,"/api/v1")
        with db.connect(database.owner_url) as own:
            own.execute("insert into accounts(id,tenant_id,slug,name,email) select '00000000-0000-7000-8000-000000000001',%s,'a','a','a@x.org'",[T])
            own.execute("""insert into orders(id,tenant_id,number,status,kind,lane,total,due,placed_at,account_id,note)
              select gen_random_uuid(), %s, 'N'||n, (array['open','paid','sent'])[1+n%%3],'sale','fast', (n*7919%%100000)/100.0, nullif(date '2000-01-01'+(n*31%%5000),date '2000-01-01'), case when n%%4=0 then null else now()-n*interval '1 minute' end,'00000000-0000-7000-8000-000000000001', 'word'||(n%%1000)||' all' from generate_series(1,200000) n""",[T])
            own.execute("analyze orders"); 
            own.execute("""insert into documents(id,string,"int",bigint,"decimal",bool,datetime,date,"enum",slug,email,url,settings)
              select gen_random_uuid(),'s'||n%%7000, nullif(n%%5000,0), case when n%%5=0 then null else n end, (n%%9000)/10.0, n%%2=0, now()-n*interval '1 s', date '2000-01-01'+n%%4000, case when n%%3=0 then 'draft' end, 's-'||n, 'a'||n||'@x.org', 'http://x.org/'||n, '{}' from generate_series(1,200000) n""".replace("%%","%"))
            own.execute("vacuum analyze documents") if own.autocommit else own.execute("analyze documents")
        q=ListQuery.of(reg.actions["orders"].resource,q="word7"); sql,params=listing.statement(reg.actions["orders"].resource,q)
        for row in reg.actions["orders"]._run(None,"explain (analyze,buffers) "+sql,params): print(row[0])
        q=ListQuery.of(reg.actions["orders"].resource,q="word7",page=1)
        for name in():
            a=reg.actions[name]; r=a.resource
            sorts=[c.name for c in r.columns if c.sortable]
            sorts+=["-"+s for s in sorts]
            if name=="orders": sorts+=["total,number","-total,due","due,-total","placed_at,-due"]
            else: sorts+=["decimal,-int","-int,string","date,-decimal","bigint,int"]
            for s in sorts:
                q=ListQuery.of(r,sort=s,limit=25)
                order=listing.order_of(r,q); places=listing.places(r,order)
                # deep keys: offset 150000
                with db.connect(database.owner_url) as own:
                    cols=", ".join('"'+o.column.name+'"' for o in order); ob=", ".join('"'+o.column.name+'"'+(" desc" if o.descending else "") for o in order)
                    out=[]
                    for off in (0,150000,199990):
                        keys=own.execute(f"select {cols} from {r.table} order by {ob} offset {off} limit 1").fetchone()
                        for back in (False,True):
                            if off==0 and back: continue
                            at=None if off==0 else listing.Position(tuple(keys),back)
                            sql,params=listing.statement(r,q,at)
                            rows=a._run(None,"explain (analyze,buffers,format json) "+sql,params)
                            p=rows[0][0][0]; out.append((p["Plan"]["Shared Hit Blocks"]+p["Plan"]["Shared Read Blocks"]))
                print(name,s,out,"<<<<" if max(out)>200 else "")
            if r.searchable:
                for w,sort in (("word7",""),("word7 all",""),("word7","total" if name=="orders" else "")):
                  for page in (None,1):
                    q=ListQuery.of(r,q=w,sort=sort,page=page)
                    sql,params=listing.statement(r,q)
                    p=a._run(None,"explain (analyze,buffers,format json) "+sql,params)[0][0][0]
                    print(name,"q",w,sort,page,p["Plan"]["Shared Hit Blocks"]+p["Plan"]["Shared Read Blocks"],p["Execution Time"])
            # filters with default sort
        a=reg.actions["orders"]
        for f in ({"status":"open"},{"number":"N77"},{"total[gte]":"999"},{"due":"2001-01-01"},{"id":str(uuid4())},{"reference":"AB-1"},{"kind":"return"},{"placed_at[gt]":"2030-01-01T00:00:00Z"}):
            q=ListQuery.of(a.resource,f); sql,params=listing.statement(a.resource,q)
            p=a._run(None,"explain (analyze,buffers,format json) "+sql,params)[0][0][0]
            print("filter",f,p["Plan"]["Shared Hit Blocks"]+p["Plan"]["Shared Read Blocks"],p["Execution Time"])
        for rel in ("labels","children","account"):
            pass
        reg.database.close()
