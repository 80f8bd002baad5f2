-- What everything else stands on: the list of files applied, the roles, a schema for helpers that no HTTP
-- request reaches, and room made where the predecessor's tables have the names we need.

create schema if not exists ezrec;
comment on schema ezrec is 'EZREC: helpers and triggers; not exposed over HTTP';

create table if not exists ezrec.migrations (
    name text primary key,
    applied_at timestamptz not null default now()
);

do $$
begin
    -- The exclusion constraint compares ids and ranges in one index.
    if exists (select from pg_namespace where nspname = 'extensions') then
        create extension if not exists btree_gist with schema extensions;
    else
        create extension if not exists btree_gist;
    end if;
end $$;

do $$
declare
    v_role text;
begin
    -- Supabase has all of these but the last; a plain PostgreSQL has none.
    foreach v_role in array array ['anon', 'authenticated', 'service_role', 'ezrec_device'] loop
        begin
            if not exists (select from pg_roles where rolname = v_role) then
                execute format(
                    'create role %I nologin noinherit %s', v_role,
                    case v_role when 'service_role' then 'bypassrls' else '' end
                );
            end if;
        exception
            when duplicate_object or unique_violation then null;  -- roles belong to the cluster: somebody was quicker
        end;
    end loop;
    -- PostgREST connects as authenticator and becomes what the key says.
    if exists (select from pg_roles where rolname = 'authenticator')
        and not pg_has_role('authenticator', 'ezrec_device', 'member') then
        grant ezrec_device to authenticator;
    end if;
end $$;

do $$
begin
    if not exists (select from pg_type t join pg_namespace n on n.oid = t.typnamespace
                   where n.nspname = 'ezrec' and t.typname = 'id') then
        -- What may stand in a topic, a key of the bucket and an address (schemas.base.ID_PATTERN).
        create domain ezrec.id as text check (value ~ '^[a-z0-9_-]{1,64}$');
    end if;
end $$;

do $$
declare
    v_table text;
begin
    if exists (select from ezrec.migrations where name = '0002_tables') then
        return;  -- what has these names now is ours
    end if;
    -- The predecessor's tables keep every row, out of reach of anybody's key; 0012 offers to take the rows over.
    foreach v_table in array array [
        'bookings', 'videos', 'recordings', 'user_settings', 'cameras', 'system_status', 'shared_links'
    ] loop
        if exists (select from pg_class c where c.oid = to_regclass('public.' || v_table) and c.relkind in ('r', 'p')) then
            create schema if not exists predecessor;
            execute format('alter table public.%I set schema predecessor', v_table);
            execute format('revoke all on predecessor.%I from public, anon, authenticated', v_table);
        end if;
    end loop;
    foreach v_table in array array [
        'organisations', 'members', 'courts', 'devices', 'court_bookings', 'booking_people', 'results', 'recordings',
        'videos', 'user_media', 'assets', 'shares', 'share_tokens', 'device_status', 'device_commands',
        'device_changes', 'notices', 'notifications', 'recipients', 'api_tokens', 'removals', 'removal_orders', 'audit',
        'bookings', 'user_settings', 'cameras', 'system_status', 'shared_links'
    ] loop
        if to_regclass('public.' || v_table) is not null then
            raise exception 'public.% is there already and not of EZREC: use a Supabase project of its own', v_table;
        end if;
    end loop;
end $$;

insert into ezrec.migrations (name) values ('0001_base') on conflict do nothing;
