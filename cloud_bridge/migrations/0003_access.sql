-- Who asks, and which rows they reach. Everything not named here is refused: row level security is on for every
-- table (0002), and privileges are given one by one (0013).
--
-- PostgREST sets the role of the key and `request.jwt.claims`. The functions that read memberships and devices run
-- with their owner's rights (SECURITY DEFINER), or policies on `members` and `devices` would ask themselves without end;
-- each answers about the caller's own claims only.

create or replace function ezrec.claims() returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;

-- The moment that counts as now. A test may set `ezrec.now` on its connection; over HTTP nobody can.
create or replace function ezrec.now() returns timestamptz
language sql stable set search_path = '' as $$
    select coalesce(nullif(current_setting('ezrec.now', true), '')::timestamptz, pg_catalog.now())
$$;

-- The person who asks; null for a device and for our own services.
create or replace function ezrec.me() returns text
language sql stable set search_path = '' as $$
    select case when ezrec.claims() ->> 'role' = 'authenticated' then ezrec.claims() ->> 'sub' end
$$;

-- Whether a device's key asks, also a revoked one's.
create or replace function ezrec.by_device() returns boolean
language sql stable set search_path = '' as $$
    select coalesce(ezrec.claims() ->> 'role' = 'ezrec_device', false)
$$;

-- Organisations in which the person who asks is at least that.
create or replace function ezrec.org_ids(p_least text) returns setof text
language sql stable security definer set search_path = '' as $$
    select m.org_id from public.members m
    where m.user_id = ezrec.me() and m.role = any (
        case p_least
            when 'user' then array ['user', 'operator', 'admin']
            when 'operator' then array ['operator', 'admin']
            when 'admin' then array ['admin']
        end
    )
$$;

-- Devices of those organisations.
create or replace function ezrec.device_ids(p_least text) returns setof text
language sql stable security definer set search_path = '' as $$
    select d.id from public.devices d where d.org_id in (select ezrec.org_ids(p_least))
$$;

-- The device whose key asks; null when it is revoked, minted too early, or not this organisation's.
create or replace function ezrec.device() returns text
language sql stable security definer set search_path = '' as $$
    select d.id from public.devices d
    where ezrec.by_device()
        and d.id = ezrec.claims() ->> 'device'
        and d.org_id = ezrec.claims() ->> 'org'
        and d.revoked_at is null
        and (d.keys_from is null or to_timestamp((ezrec.claims() ->> 'iat')::double precision) >= d.keys_from)
$$;

-- The organisation of that device.
create or replace function ezrec.device_org() returns text
language sql stable security definer set search_path = '' as $$
    select d.org_id from public.devices d where d.id = ezrec.device()
$$;

-- Whose rows a function is about. A revoked key gets an error, never an empty answer that looks like the truth.
create or replace function ezrec.scope(p_device text, p_must boolean) returns text
language plpgsql stable set search_path = '' as $$
declare
    v_own text;
begin
    if ezrec.by_device() then
        v_own := ezrec.device();
        if v_own is null then
            raise exception 'this device key is revoked, or of no device here'
                using errcode = '42501', hint = 'ezrec store device-key';
        elsif p_device <> v_own then
            raise exception 'this key is of device %, not of %', v_own, p_device using errcode = '42501';
        end if;
        return v_own;
    elsif p_device is null then
        if p_must then
            raise exception 'p_device is null, a device id was expected' using errcode = 'PT400';
        end if;
    elsif not exists (select from public.devices d where d.id = p_device) then
        raise exception 'there is no device %', p_device using errcode = 'PT404';
    end if;
    return p_device;
end $$;

-- Whether a booking is of the person who asks. With its owner's rights: a policy of `court_bookings` asks, and would ask
-- itself without end.
create or replace function ezrec.owns_booking(p_device text, p_booking_id text) returns boolean
language sql stable security definer set search_path = '' as $$
    select exists (
        select from public.court_bookings b
        where b.device_id = p_device and b.id = p_booking_id and b.owner = ezrec.me()
    )
$$;

create or replace function ezrec.set_policy(
    p_table text, p_command text, p_role text, p_using text, p_check text default null
) returns void
language plpgsql set search_path = '' as $$
declare
    v_name text := format('%s_%s_%s', p_role, p_command, p_table);
begin
    execute format('drop policy if exists %I on public.%I', v_name, p_table);
    execute format(
        'create policy %I on public.%I for %s to %I %s %s', v_name, p_table, p_command, p_role,
        case when p_command <> 'insert' then 'using (' || p_using || ')' else '' end,
        case p_command
            when 'insert' then 'with check (' || p_using || ')'
            when 'update' then 'with check (' || coalesce(p_check, p_using) || ')'
            else ''
        end
    );
end $$;
revoke all on function ezrec.set_policy from public;

do $$
declare
    -- People. `(select ...)` is worked out once a statement, not once a row.
    own constant text := 'owner = (select ezrec.me())';
    user_org constant text := 'org_id in (select ezrec.org_ids(''user''))';
    operator_org constant text := 'org_id in (select ezrec.org_ids(''operator''))';
    admin_org constant text := 'org_id in (select ezrec.org_ids(''admin''))';
    user_device constant text := 'device_id in (select ezrec.device_ids(''user''))';
    operator_device constant text := 'device_id in (select ezrec.device_ids(''operator''))';
    admin_device constant text := 'device_id in (select ezrec.device_ids(''admin''))';
    -- Whoever reaches the booking: its own policies decide.
    of_booking constant text := 'exists (select from public.court_bookings b'
        || ' where b.device_id = %1$I.device_id and b.id = %1$I.booking_id)';
    -- Devices. `ezrec.device()` is null for a revoked one.
    own_device constant text := 'device_id = (select ezrec.device())';
begin
    -- Organisations and who is in them.
    perform ezrec.set_policy('organisations', 'select', 'authenticated', 'id in (select ezrec.org_ids(''user''))');
    perform ezrec.set_policy('organisations', 'update', 'authenticated', 'id in (select ezrec.org_ids(''admin''))');
    perform ezrec.set_policy('organisations', 'select', 'ezrec_device', 'id = (select ezrec.device_org())');
    perform ezrec.set_policy('members', 'select', 'authenticated', 'user_id = (select ezrec.me()) or ' || operator_org);
    perform ezrec.set_policy('members', 'insert', 'authenticated', admin_org);
    perform ezrec.set_policy('members', 'update', 'authenticated', admin_org);
    perform ezrec.set_policy('members', 'delete', 'authenticated', admin_org);
    perform ezrec.set_policy('courts', 'select', 'authenticated', user_org);
    perform ezrec.set_policy('courts', 'insert', 'authenticated', admin_org);
    perform ezrec.set_policy('courts', 'update', 'authenticated', admin_org);
    perform ezrec.set_policy('courts', 'delete', 'authenticated', admin_org);
    perform ezrec.set_policy('courts', 'select', 'ezrec_device', 'org_id = (select ezrec.device_org())');
    perform ezrec.set_policy('devices', 'select', 'authenticated', user_org);
    perform ezrec.set_policy('devices', 'insert', 'authenticated', admin_org);
    perform ezrec.set_policy('devices', 'update', 'authenticated', admin_org);
    perform ezrec.set_policy('devices', 'select', 'ezrec_device', 'id = (select ezrec.device())');
    perform ezrec.set_policy('devices', 'update', 'ezrec_device', 'id = (select ezrec.device())');

    -- Bookings: a user's own, on the courts of an organisation they belong to; an operator's organisation's.
    -- Deleting is cancelling (0004), so it needs what changing needs.
    perform ezrec.set_policy('court_bookings', 'select', 'authenticated', own || ' or ' || operator_device);
    -- A cut lies where it likes and shows what was recorded there: a user makes one of a booking of their own alone, and
    -- no manual recording, which is a button's. A booking that said it is of another would reach into that one's time.
    perform ezrec.set_policy(
        'court_bookings', 'insert', 'authenticated',
        '(' || own || ' and ' || user_device || ' and ((kind = ''booked'' and cut_of is null) or (kind = ''cut'''
        || ' and ezrec.owns_booking(device_id, cut_of)))) or ' || operator_device
    );
    perform ezrec.set_policy(
        'court_bookings', 'update', 'authenticated', '(' || own || ' and ' || user_device || ') or ' || operator_device
    );
    perform ezrec.set_policy(
        'court_bookings', 'delete', 'authenticated', '(' || own || ' and ' || user_device || ') or ' || operator_device
    );
    perform ezrec.set_policy('court_bookings', 'select', 'ezrec_device', own_device);
    perform ezrec.set_policy('court_bookings', 'insert', 'ezrec_device', own_device || ' and owner is null');
    perform ezrec.set_policy('court_bookings', 'update', 'ezrec_device', own_device);
    perform ezrec.set_policy('booking_people', 'select', 'authenticated', format(of_booking, 'booking_people'));
    perform ezrec.set_policy('booking_people', 'insert', 'authenticated', format(of_booking, 'booking_people'));
    perform ezrec.set_policy('booking_people', 'update', 'authenticated', format(of_booking, 'booking_people'));
    perform ezrec.set_policy('booking_people', 'insert', 'ezrec_device', own_device);  -- and no select: never read back

    -- What the device made.
    perform ezrec.set_policy(
        'results', 'select', 'authenticated', operator_device || ' or ' || format(of_booking, 'results')
    );
    perform ezrec.set_policy('results', 'select', 'ezrec_device', own_device);
    perform ezrec.set_policy('results', 'insert', 'ezrec_device', own_device);
    perform ezrec.set_policy('results', 'update', 'ezrec_device', own_device);
    perform ezrec.set_policy(
        'recordings', 'select', 'authenticated', 'user_id = (select ezrec.me()) or ' || operator_device
    );
    perform ezrec.set_policy('videos', 'select', 'authenticated', 'user_id = (select ezrec.me()) or ' || operator_device);
    perform ezrec.set_policy('recordings', 'select', 'ezrec_device', own_device);
    perform ezrec.set_policy('videos', 'select', 'ezrec_device', own_device);
    perform ezrec.set_policy('device_status', 'select', 'authenticated', operator_device);
    perform ezrec.set_policy('device_status', 'select', 'ezrec_device', own_device);

    -- Logos and intros: their owner's; an organisation's are its admins'; a device reads those of its own bookings.
    perform ezrec.set_policy(
        'user_media', 'select', 'authenticated',
        '(whose = ''user'' and who = (select ezrec.me()))'
        || ' or (whose = ''organisation'' and who in (select ezrec.org_ids(''user'')))'
    );
    perform ezrec.set_policy(
        'user_media', 'delete', 'authenticated',
        '(whose = ''user'' and who = (select ezrec.me()))'
        || ' or (whose = ''organisation'' and who in (select ezrec.org_ids(''admin'')))'
    );
    perform ezrec.set_policy(
        'user_media', 'update', 'authenticated',
        '(whose = ''user'' and who = (select ezrec.me()))'
        || ' or (whose = ''organisation'' and who in (select ezrec.org_ids(''admin'')))'
    );
    perform ezrec.set_policy(
        'user_media', 'select', 'ezrec_device',
        '(whose = ''organisation'' and who = (select ezrec.device_org())) or (whose = ''user'' and exists'
        || ' (select from public.court_bookings b where b.owner = user_media.who and b.device_id = (select ezrec.device())))'
    );

    -- Shares and links.
    perform ezrec.set_policy('shares', 'select', 'authenticated', format(of_booking, 'shares'));
    perform ezrec.set_policy('shares', 'insert', 'authenticated', format(of_booking, 'shares'));
    perform ezrec.set_policy('shares', 'update', 'authenticated', format(of_booking, 'shares'));
    perform ezrec.set_policy('shares', 'select', 'ezrec_device', own_device);
    perform ezrec.set_policy('shares', 'insert', 'ezrec_device', own_device);
    perform ezrec.set_policy(
        'share_tokens', 'select', 'authenticated',
        'exists (select from public.shares s where s.share_id = share_tokens.share_id)'
    );
    perform ezrec.set_policy(
        'share_tokens', 'insert', 'authenticated',
        'exists (select from public.shares s where s.share_id = share_tokens.share_id)'
    );

    -- Commands from afar: operators order in their own name what the buttons on the court may, admins everything
    -- (schemas.commands says which is which); the device answers.
    perform ezrec.set_policy('device_commands', 'select', 'authenticated', operator_device);
    perform ezrec.set_policy(
        'device_commands', 'insert', 'authenticated',
        operator_device || ' and ordered_by = (select ezrec.me()) and (' || admin_device
        || ' or target || ''/'' || name in (''booking/start'', ''booking/stop'', ''booking/cut'', ''health/preflight'')'
        || ' or (starts_with(target, ''camera_'') and name = ''snapshot''))'
    );
    perform ezrec.set_policy('device_commands', 'select', 'ezrec_device', own_device);
    perform ezrec.set_policy('device_commands', 'update', 'ezrec_device', own_device);
    perform ezrec.set_policy('device_changes', 'select', 'ezrec_device', own_device);

    -- Telling people.
    perform ezrec.set_policy('notices', 'select', 'authenticated', operator_device);
    perform ezrec.set_policy('notices', 'select', 'ezrec_device', own_device);
    perform ezrec.set_policy('notices', 'insert', 'ezrec_device', own_device);
    perform ezrec.set_policy('notifications', 'select', 'authenticated', operator_device);
    perform ezrec.set_policy('recipients', 'select', 'authenticated', operator_device);
    perform ezrec.set_policy('recipients', 'insert', 'authenticated', admin_device);
    perform ezrec.set_policy('recipients', 'update', 'authenticated', admin_device);
    perform ezrec.set_policy('recipients', 'delete', 'authenticated', admin_device);

    -- Accounts.
    perform ezrec.set_policy('removals', 'select', 'authenticated', operator_device);
    perform ezrec.set_policy('removal_orders', 'select', 'authenticated', operator_device);
    perform ezrec.set_policy('audit', 'select', 'authenticated', admin_org);
end $$;

insert into ezrec.migrations (name) values ('0003_access') on conflict do nothing;
