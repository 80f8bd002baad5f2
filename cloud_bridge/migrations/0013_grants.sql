-- Privileges, from nothing: a new project gives every table and function of `public` to everybody with its public key,
-- and leaves it to row level security to refuse. Here both must agree. A device's rights name columns.

-- What comes later is nobody's either until it is given.
alter default privileges in schema public revoke all on tables from anon, authenticated;
alter default privileges in schema public revoke all on sequences from anon, authenticated;
alter default privileges in schema public revoke execute on functions from anon, authenticated;
alter default privileges revoke execute on functions from public;

do $$
declare
    v_name text;
begin
    for v_name in
        select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
            and c.relname in (
                'organisations', 'members', 'courts', 'devices', 'court_bookings', 'booking_people', 'results',
                'recordings', 'videos', 'user_media', 'assets', 'shares', 'share_tokens', 'device_status',
                'device_commands', 'device_changes', 'notices', 'notifications', 'recipients', 'api_tokens', 'removals',
                'removal_orders', 'audit', 'bookings', 'user_settings', 'cameras', 'system_status', 'shared_links'
            )
    loop
        execute format('revoke all on public.%I from public, anon, authenticated, ezrec_device, service_role', v_name);
        execute format('grant select, insert, update, delete on public.%I to service_role', v_name);
    end loop;
    revoke update, delete on public.audit from service_role;
    -- What was put aside is read by the import.
    if exists (select from pg_namespace where nspname = 'predecessor') then
        grant usage on schema predecessor to service_role;
        grant select on all tables in schema predecessor to service_role;
    end if;
    for v_name in
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'ezrec'::regnamespace
            or (p.pronamespace = 'public'::regnamespace and p.proname like 'ezrec\_%')
    loop
        execute format('revoke all on function %s from public, anon, authenticated, ezrec_device, service_role', v_name);
    end loop;
end $$;

grant usage on schema public to ezrec_device;
revoke all on schema ezrec from public, anon;
grant usage on schema ezrec to authenticated, ezrec_device, service_role;
grant select on ezrec.objects_left to service_role;

-- --- people ---

grant select, update (name) on public.organisations to authenticated;
grant select, insert, update (role), delete on public.members to authenticated;
grant select, insert, update (name), delete on public.courts to authenticated;
grant select, insert (id, org_id, court_id, name, timezone, automatic),
    update (court_id, name, timezone, automatic, keys_from, revoked_at) on public.devices to authenticated;
grant select, delete,
    insert (device_id, id, kind, starts_at, ends_at, status, record, audience, layout, deliver, owner, cut_of),
    update (starts_at, ends_at, status, record, audience, layout, deliver) on public.court_bookings to authenticated;
grant select, insert (device_id, booking_id, title, contacts), update (title, contacts)
    on public.booking_people to authenticated;
grant select on public.results, public.recordings, public.videos, public.device_status to authenticated;
grant select, delete, update (place, size, opacity) on public.user_media to authenticated;
grant select, insert (share_id, device_id, booking_id, created_at, expires_at), update (expires_at, revoked_at)
    on public.shares to authenticated;
grant select, insert on public.share_tokens to authenticated;
grant select, insert (device_id, id, target, name, args, deadline, ordered_by, created_at)
    on public.device_commands to authenticated;
grant select on public.notices, public.notifications, public.removals, public.removal_orders, public.audit to authenticated;
grant select, insert, update (kinds, language, quiet), delete on public.recipients to authenticated;
grant select, insert, update, delete on public.bookings to authenticated;
grant select, insert, update on public.user_settings to authenticated;
grant select, insert, update, delete on public.shared_links to authenticated;
grant select on public.cameras, public.system_status to authenticated;

-- --- a device ---

grant select on public.organisations, public.courts to ezrec_device;
grant select, update (automatic) on public.devices to ezrec_device;
grant select,
    insert (device_id, id, kind, starts_at, ends_at, status, record, audience, layout, deliver, owner, cut_of),
    update (starts_at, ends_at, status, record, audience, layout, deliver) on public.court_bookings to ezrec_device;
-- It reads none of these: the privilege is for the functions it shares with people, and no policy gives it a row.
grant select, insert (device_id, booking_id, title, contacts) on public.booking_people to ezrec_device;
grant select, insert (device_id, booking_id, kind, seq, body, stored_at), update (seq, body, stored_at)
    on public.results to ezrec_device;
grant select on public.recordings, public.videos, public.device_status, public.device_changes, public.user_media
    to ezrec_device;
grant select, insert (share_id, device_id, booking_id, created_at, expires_at) on public.shares to ezrec_device;
grant select, update (answer, answered_at) on public.device_commands to ezrec_device;
grant select, insert (device_id, id, kind, subject, at, data, created_at) on public.notices to ezrec_device;

-- --- functions ---

do $$
declare
    v_name text;
begin
    -- Helpers, but those that act with their owner's rights for triggers alone.
    for v_name in
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'ezrec'::regnamespace and p.prorettype <> 'trigger'::regtype
            and p.proname not in ('set_policy', 'next_change', 'refuse_overlap', 'show_upload')
    loop
        execute format('grant execute on function %s to authenticated, ezrec_device, service_role', v_name);
    end loop;
    for v_name in
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname like 'ezrec\_%'
    loop
        execute format('grant execute on function %s to service_role', v_name);
    end loop;
    for v_name in
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname = any (array [
            'ezrec_create_booking', 'ezrec_change_booking', 'ezrec_booking', 'ezrec_bookings', 'ezrec_automatic',
            'ezrec_set_automatic', 'ezrec_results', 'ezrec_recordings', 'ezrec_make_share', 'ezrec_issue_link',
            'ezrec_share', 'ezrec_shares', 'ezrec_revoke_share', 'ezrec_order_command', 'ezrec_recipients',
            'ezrec_set_recipient', 'ezrec_remove_recipient'
        ])
    loop
        execute format('grant execute on function %s to authenticated', v_name);
    end loop;
    for v_name in
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname = any (array [
            'ezrec_poll', 'ezrec_create_booking', 'ezrec_change_booking', 'ezrec_booking', 'ezrec_bookings',
            'ezrec_automatic', 'ezrec_set_automatic', 'ezrec_save_result', 'ezrec_results', 'ezrec_recordings',
            'ezrec_make_share', 'ezrec_share', 'ezrec_shares', 'ezrec_save_results', 'ezrec_add_notices',
            'ezrec_answer_command'
        ])
    loop
        execute format('grant execute on function %s to ezrec_device', v_name);
    end loop;
end $$;

-- PostgREST looks at the schema again.
notify pgrst, 'reload schema';

insert into ezrec.migrations (name) values ('0013_grants') on conflict do nothing;
