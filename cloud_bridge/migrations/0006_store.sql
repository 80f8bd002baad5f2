-- Functions of cloud_bridge.stores.base.Store: bookings and results.

-- --- rows as the dataclasses ---

-- A booking wears what its owner and its organisation uploaded, as far as the caller may see that.
create or replace function ezrec.stored_booking(p_row public.court_bookings) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'id', p_row.id, 'kind', p_row.kind, 'start', ezrec.utc(p_row.starts_at), 'end', ezrec.utc(p_row.ends_at),
        'status', p_row.status, 'record', p_row.record, 'audience', p_row.audience, 'layout', p_row.layout,
        'deliver', to_jsonb(p_row.deliver), 'owner', p_row.owner, 'of', p_row.cut_of, 'changed', p_row.changed,
        'created_at', ezrec.utc(p_row.created_at),
        'dressing', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'of', m.whose, 'slot', m.slot, 'sha256', m.sha256, 'bytes', m.bytes,
                'place', coalesce(m.place, 'bottom_right'), 'size', coalesce(m.size, 16.0),
                'opacity', coalesce(m.opacity, 1.0)
            ) order by m.whose, m.slot), '[]')
            from public.user_media m
            where (m.whose = 'organisation' and m.who = p_row.org_id) or (m.whose = 'user' and m.who = p_row.owner)
        )
    )
$$;

-- Of a booking whose people the caller may not read there is no title and no contact.
create or replace function ezrec.booking_row(p_row public.court_bookings) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'stored', ezrec.stored_booking(p_row), 'title', p.title, 'contacts', to_jsonb(coalesce(p.contacts, '{}')),
        'cancelled_at', ezrec.utc(p_row.cancelled_at)
    )
    from (values (1)) one
    left join public.booking_people p on p.device_id = p_row.device_id and p.booking_id = p_row.id
$$;

create or replace function ezrec.results_of(p_device text, p_booking_id text) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(
        jsonb_object_agg(r.kind, jsonb_build_object('body', r.body, 'stored_at', ezrec.utc(r.stored_at))), '{}'
    )
    from public.results r where r.device_id = p_device and r.booking_id = p_booking_id
$$;

create or replace function ezrec.strings(p_value jsonb, p_name text) returns text []
language plpgsql immutable set search_path = '' as $$
begin
    if jsonb_typeof(p_value) is distinct from 'array'
        or exists (select from jsonb_array_elements(p_value) e where jsonb_typeof(e) <> 'string') then
        raise exception '%: a list of texts was expected', p_name using errcode = 'PT400';
    end if;
    return array(select jsonb_array_elements_text(p_value));
end $$;

create or replace function ezrec.page_limit(p_limit integer) returns integer
language sql immutable set search_path = '' as $$
    select least(greatest(coalesce(p_limit, 50), 0), 1000)
$$;

-- One booking of one device, by a device that must be known when ids could be of several.
create or replace function ezrec.find_booking(p_device text, p_booking_id text) returns public.court_bookings
language plpgsql stable set search_path = '' as $$
declare
    v_row public.court_bookings;
begin
    select b.* into strict v_row from public.court_bookings b
    where b.id = p_booking_id and (p_device is null or b.device_id = p_device);
    return v_row;
exception
    when no_data_found then
        return null;
    when too_many_rows then
        raise exception 'several devices have a booking %: say which', p_booking_id using errcode = 'PT400';
end $$;

create or replace function ezrec.must_booking(p_device text, p_booking_id text) returns public.court_bookings
language plpgsql stable set search_path = '' as $$
declare
    v_row public.court_bookings := ezrec.find_booking(p_device, p_booking_id);
begin
    if v_row.id is null then
        raise exception 'there is no booking %', p_booking_id using errcode = 'PT404';
    end if;
    return v_row;
end $$;

-- --- bookings ---

create or replace function public.ezrec_poll(p_device text, p_cursor bigint, p_limit integer default 500) returns jsonb
language plpgsql stable set search_path = '' as $$
-- STABLE: all that follows is read in one snapshot.
declare
    v_device constant text := ezrec.scope(p_device, true);
    v_limit constant integer := least(greatest(coalesce(p_limit, 500), 1), 500);
    v_newest bigint;
    v_since bigint;
    v_answer jsonb;
begin
    select c.changed into v_newest from public.device_changes c where c.device_id = v_device;
    v_newest := coalesce(v_newest, 0);
    v_since := case when p_cursor between 0 and v_newest then p_cursor else 0 end;
    with news as (
        select b.changed, 'booking' as what, b.id::text as id from public.court_bookings b
        where b.device_id = v_device and b.changed > v_since
        union all
        select max(s.changed), 'share', s.booking_id from public.shares s
        where s.device_id = v_device group by s.booking_id having max(s.changed) > v_since
        union all
        select c.changed, 'command', c.id from public.device_commands c
        where c.device_id = v_device and c.changed > v_since and c.answered_at is null
        order by 1 limit v_limit + 1
    ), page as (
        select * from news order by changed limit v_limit
    )
    select jsonb_build_object(
        'cursor', case when (select count(*) from news) > v_limit then (select max(changed) from page) else v_newest end,
        'complete', (select count(*) from news) <= v_limit,
        'count', (select count(*) from public.court_bookings b where b.device_id = v_device),
        'automatic', (select d.automatic from public.devices d where d.id = v_device),
        'unreadable', '[]'::jsonb,
        'rows', (
            select coalesce(jsonb_agg(ezrec.stored_booking(b) order by b.changed), '[]')
            from page join public.court_bookings b on b.device_id = v_device and b.id = page.id
            where page.what = 'booking'
        ),
        'shares', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'booking_id', s.booking_id, 'share_id', s.share_id, 'expires_at', ezrec.utc(s.expires_at),
                'revoked_at', ezrec.utc(s.revoked_at), 'delivered_at', ezrec.utc(s.delivered_at), 'changed', page.changed
            ) order by page.changed), '[]')
            from page cross join lateral (
                -- of several the one that counts: live before ended, the newest
                select o.* from public.shares o where o.device_id = v_device and o.booking_id = page.id
                order by o.revoked_at is not null, o.expires_at <= ezrec.now(), o.created_at desc, o.n desc limit 1
            ) s
            where page.what = 'share'
        ),
        'commands', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'id', c.id, 'target', c.target, 'name', c.name, 'args', c.args, 'deadline', ezrec.utc(c.deadline),
                'created_at', ezrec.utc(c.created_at), 'changed', c.changed
            ) order by c.changed), '[]')
            from page join public.device_commands c on c.device_id = v_device and c.id = page.id
            where page.what = 'command'
        )
    ) into v_answer;
    return v_answer;
end $$;

create or replace function public.ezrec_create_booking(p_device text, p_new jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, true);
    v_deliver text [] := ezrec.strings(coalesce(p_new -> 'deliver', '["film"]'), 'deliver');
    v_contacts text [] := ezrec.strings(coalesce(p_new -> 'contacts', '[]'), 'contacts');
    v_start timestamptz := ezrec.moment(p_new ->> 'start');
    v_end timestamptz := ezrec.moment(p_new ->> 'end');
    v_kind text := coalesce(p_new ->> 'kind', 'booked');
    v_record text := coalesce(p_new ->> 'record', 'yes');
    v_audience text := coalesce(p_new ->> 'audience', 'link');
    v_row public.court_bookings;
    v_people public.booking_people;
begin
    if coalesce(p_new ->> 'id', '') !~ '^[a-z0-9_-]{1,64}$' then
        raise exception '% is no id: 1 to 64 of a-z, 0-9, _ and - were expected', quote_nullable(left(p_new ->> 'id', 80))
            using errcode = 'PT400';
    end if;
    v_row := ezrec.find_booking(v_device, p_new ->> 'id');
    if v_row.id is null then
        if v_end < v_start then
            raise exception '%: end % is before start %', p_new ->> 'id', ezrec.utc(v_end), ezrec.utc(v_start)
                using errcode = 'PT409';
        end if;
        begin
            insert into public.court_bookings (
                device_id, id, kind, starts_at, ends_at, record, audience, layout, deliver, owner, cut_of
            ) values (
                v_device, p_new ->> 'id', v_kind, v_start, v_end, v_record, v_audience, p_new ->> 'layout', v_deliver,
                p_new ->> 'owner', p_new ->> 'of'
            );
            insert into public.booking_people (device_id, booking_id, title, contacts)
            values (v_device, p_new ->> 'id', p_new ->> 'title', v_contacts);
            return jsonb_build_object(
                'booking', ezrec.booking_row(ezrec.find_booking(v_device, p_new ->> 'id')), 'fresh', true
            );
        exception
            when unique_violation then  -- somebody was quicker, or it is there and not the caller's to see
                v_row := ezrec.find_booking(v_device, p_new ->> 'id');
        end;
    end if;
    select p.* into v_people from public.booking_people p where p.device_id = v_device and p.booking_id = v_row.id;
    if v_row.id is null or v_row.request <> ezrec.booking_digest(
        v_kind, v_start, v_end, v_record, v_audience, p_new ->> 'layout', v_deliver, p_new ->> 'owner', p_new ->> 'of'
    )
    -- A device does not see who is told, so it is not held against it.
    or (not ezrec.by_device() and coalesce(v_people.request, ezrec.people_digest(null, '{}'))
        <> ezrec.people_digest(p_new ->> 'title', v_contacts)) then
        raise exception 'there is another booking %', p_new ->> 'id' using errcode = 'PT409';
    end if;
    return jsonb_build_object('booking', ezrec.booking_row(v_row), 'fresh', false);
end $$;

-- Columns a change may name, and who is told: the device may not change the latter.
create or replace function ezrec.change_people(p_row public.court_bookings, p_changes jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    v_there public.booking_people;
begin
    if not p_changes ?| array ['title', 'contacts'] then
        return;
    end if;
    if ezrec.by_device() then
        raise exception 'a device may not change title and contacts' using errcode = '42501';
    end if;
    select p.* into v_there from public.booking_people p
    where p.device_id = p_row.device_id and p.booking_id = p_row.id;
    if v_there.booking_id is null then
        insert into public.booking_people (device_id, booking_id) values (p_row.device_id, p_row.id);
    end if;
    update public.booking_people p set
        title = case when p_changes ? 'title' then p_changes ->> 'title' else p.title end,
        contacts = case when p_changes ? 'contacts' then ezrec.strings(p_changes -> 'contacts', 'contacts') else p.contacts end
    where p.device_id = p_row.device_id and p.booking_id = p_row.id;
end $$;

create or replace function public.ezrec_change_booking(
    p_device text, p_booking_id text, p_changes jsonb, p_seen bigint default null
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_row public.court_bookings;
    v_unknown text;
begin
    select string_agg(k, ', ' order by k) into v_unknown from jsonb_object_keys(p_changes) k
    where k not in ('start', 'end', 'status', 'record', 'audience', 'layout', 'deliver', 'title', 'contacts');
    if v_unknown is not null then
        raise exception '% of a booking cannot be changed', v_unknown using errcode = 'PT409';
    end if;
    v_row := ezrec.must_booking(v_device, p_booking_id);
    select b.* into v_row from public.court_bookings b
    where b.device_id = v_row.device_id and b.id = v_row.id for update;
    if not found then  -- to be seen, but not to be changed
        raise exception 'booking % is not yours to change', p_booking_id using errcode = '42501';
    end if;
    if v_row.changed <> p_seen then
        raise exception '% has been changed meanwhile', p_booking_id using errcode = 'PT412';
    end if;
    update public.court_bookings b set
        starts_at = case when p_changes ? 'start' then ezrec.moment(p_changes ->> 'start') else b.starts_at end,
        ends_at = case when p_changes ? 'end' then ezrec.moment(p_changes ->> 'end') else b.ends_at end,
        status = case when p_changes ? 'status' then p_changes ->> 'status' else b.status end,
        record = case when p_changes ? 'record' then p_changes ->> 'record' else b.record end,
        audience = case when p_changes ? 'audience' then p_changes ->> 'audience' else b.audience end,
        layout = case when p_changes ? 'layout' then p_changes ->> 'layout' else b.layout end,
        deliver = case when p_changes ? 'deliver' then ezrec.strings(p_changes -> 'deliver', 'deliver') else b.deliver end
    where b.device_id = v_row.device_id and b.id = v_row.id;
    perform ezrec.change_people(v_row, p_changes);
    return ezrec.booking_row(ezrec.find_booking(v_row.device_id, p_booking_id));
end $$;

create or replace function public.ezrec_booking(p_device text, p_booking_id text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_row public.court_bookings := ezrec.find_booking(ezrec.scope(p_device, false), p_booking_id);
begin
    return case when v_row.id is not null then ezrec.booking_row(v_row) end;
end $$;

create or replace function public.ezrec_bookings(p_device text, p_query jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_begin constant timestamptz := case when p_query ->> 'begin' is not null then ezrec.moment(p_query ->> 'begin') end;
    v_end constant timestamptz := case when p_query ->> 'end' is not null then ezrec.moment(p_query ->> 'end') end;
    v_after constant timestamptz := case when p_query #>> '{after,0}' is not null then ezrec.moment(p_query #>> '{after,0}') end;
    v_answer jsonb;
begin
    select coalesce(jsonb_agg(ezrec.booking_row(page.b) order by (page.b).starts_at, (page.b).id), '[]') into v_answer
    from (
        select b from public.court_bookings b
        where (v_device is null or b.device_id = v_device)
            and (v_begin is null or b.ends_at > v_begin)
            and (v_end is null or b.starts_at < v_end)
            and (p_query ->> 'status' is null or b.status = p_query ->> 'status')
            and (p_query ->> 'owner' is null or b.owner = p_query ->> 'owner')
            and (v_after is null or (b.starts_at, b.id) > (v_after, p_query #>> '{after,1}'))
        order by b.starts_at, b.id
        limit ezrec.page_limit((p_query ->> 'limit')::integer)
    ) page;
    return v_answer;
end $$;

create or replace function public.ezrec_automatic(p_device text) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return (select to_jsonb(d.automatic) from public.devices d where d.id = ezrec.scope(p_device, true));
end $$;

create or replace function public.ezrec_set_automatic(p_device text, p_on boolean) returns jsonb
language plpgsql set search_path = '' as $$
begin
    update public.devices set automatic = p_on where id = ezrec.scope(p_device, true);
    if not found then
        raise exception 'automatic recording of % is not yours to switch', p_device using errcode = '42501';
    end if;
    return null;
end $$;

-- --- results ---

create or replace function public.ezrec_save_result(p_device text, p_booking_id text, p_kind text, p_body jsonb) returns jsonb
language plpgsql set search_path = '' as $$
begin
    insert into public.results as r (device_id, booking_id, kind, body, stored_at)
    values (ezrec.scope(p_device, true), p_booking_id, p_kind, p_body, ezrec.now())
    on conflict (device_id, booking_id, kind) do update set body = excluded.body, stored_at = excluded.stored_at
    where r.body <> excluded.body;
    return to_jsonb(found);
end $$;

create or replace function public.ezrec_results(p_device text, p_booking_id text) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return ezrec.results_of(ezrec.scope(p_device, true), p_booking_id);
end $$;

create or replace function public.ezrec_recordings(
    p_device text, p_owner text, p_limit integer, p_after jsonb default null
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_after constant timestamptz := case when p_after ->> 0 is not null then ezrec.moment(p_after ->> 0) end;
    v_answer jsonb;
begin
    select coalesce(jsonb_agg(
        jsonb_build_object(
            'booking', ezrec.booking_row(page.b), 'results', ezrec.results_of((page.b).device_id, (page.b).id)
        ) order by (page.b).starts_at desc, (page.b).id desc
    ), '[]') into v_answer
    from (
        select b from public.court_bookings b
        where (v_device is null or b.device_id = v_device)
            and (p_owner is null or b.owner = p_owner)
            and (v_after is null or (b.starts_at, b.id) < (v_after, p_after ->> 1))
            and exists (
                select from public.results r
                where r.device_id = b.device_id and r.booking_id = b.id and r.kind = 'recording'
            )
        order by b.starts_at desc, b.id desc limit ezrec.page_limit(p_limit)
    ) page;
    return v_answer;
end $$;

insert into ezrec.migrations (name) values ('0006_store') on conflict do nothing;
