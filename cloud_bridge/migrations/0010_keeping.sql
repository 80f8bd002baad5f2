-- Functions of cloud_bridge.stores.keeping.KeepingStore, for whoever removes (service_role).

-- Objects that an upload named and that are not accounted for as removed.
create or replace view ezrec.objects_left with (security_invoker = true) as
select r.device_id, r.booking_id, o ->> 'key' as key, coalesce(o ->> 'verified_at', '') as verified_at
from public.results r
cross join lateral jsonb_array_elements(
    case jsonb_typeof(r.body -> 'objects') when 'array' then r.body -> 'objects' else '[]' end
) o
where r.kind = 'upload' and jsonb_typeof(o -> 'key') = 'string'
    and not exists (
        select from public.removals d
        where d.device_id = r.device_id and d.booking_id = r.booking_id and d.key = o ->> 'key'
            and d.verified_at = coalesce(o ->> 'verified_at', '')
    );

create or replace function ezrec.film_row(p_device text, p_booking_id text) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'booking_id', p_booking_id, 'org', d.org_id, 'device', d.id, 'status', b.status,
        'cancelled_at', ezrec.utc(b.cancelled_at),
        'state', (
            select case when jsonb_typeof(s.body -> 'state') = 'string' then s.body ->> 'state' end from public.results s
            where s.device_id = d.id and s.booking_id = p_booking_id and s.kind = 'recording'
        ),
        'upload', u.body, 'stored_at', coalesce(ezrec.utc(u.stored_at), ''),
        'ordered', (select w.why from public.removal_orders w where w.device_id = d.id and w.booking_id = p_booking_id),
        'removed', (
            select coalesce(jsonb_agg(jsonb_build_array(m.key, m.verified_at) order by m.key, m.verified_at), '[]')
            from public.removals m where m.device_id = d.id and m.booking_id = p_booking_id
        )
    )
    from public.devices d
    left join public.court_bookings b on b.device_id = d.id and b.id = p_booking_id
    left join public.results u on u.device_id = d.id and u.booking_id = p_booking_id and u.kind = 'upload'
    where d.id = p_device
$$;

-- The device that has a booking or a result of that id; null when none has.
create or replace function ezrec.film_device(p_device text, p_booking_id text) returns text
language plpgsql stable set search_path = '' as $$
declare
    v_found text [];
begin
    select array_agg(distinct f.device_id) into v_found from (
        select b.device_id::text from public.court_bookings b where b.id = p_booking_id
        union all select r.device_id from public.results r where r.booking_id = p_booking_id
    ) f where p_device is null or f.device_id = p_device;
    if cardinality(v_found) > 1 then
        raise exception 'several devices have a booking %: say which', p_booking_id using errcode = 'PT400';
    end if;
    return v_found[1];
end $$;

create or replace function public.ezrec_devices(p_device text) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(jsonb_build_array(d.org_id, d.id) order by d.org_id, d.id), '[]')
    from public.devices d where d.id = coalesce(ezrec.scope(p_device, false), d.id)
$$;

-- Where several devices have a booking of the same id the page may be longer: all of them, or the next would begin behind.
create or replace function public.ezrec_kept_films(p_device text, p_limit integer, p_after text default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_answer jsonb;
begin
    select coalesce(jsonb_agg(ezrec.film_row(page.device_id, page.booking_id) order by page.booking_id, page.device_id), '[]')
    into v_answer
    from (
        select o.booking_id, o.device_id from ezrec.objects_left o
        where (v_device is null or o.device_id = v_device) and (p_after is null or o.booking_id > p_after)
        group by o.booking_id, o.device_id
        order by o.booking_id fetch first (greatest(ezrec.page_limit(p_limit), 1)) rows with ties
    ) page;
    return v_answer;
end $$;

create or replace function public.ezrec_kept_film(p_device text, p_booking_id text) returns jsonb
language sql stable set search_path = '' as $$
    select ezrec.film_row(ezrec.film_device(ezrec.scope(p_device, false), p_booking_id), p_booking_id)
$$;

create or replace function public.ezrec_order_removal(p_device text, p_booking_id text, p_why text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.film_device(ezrec.scope(p_device, false), p_booking_id);
    v_ids text [];
begin
    if v_device is null then
        raise exception 'there is no booking %', p_booking_id using errcode = 'PT404';
    end if;
    v_ids := p_booking_id || array(
        select b.id::text from public.court_bookings b where b.device_id = v_device and b.cut_of = p_booking_id order by b.id
    );
    insert into public.removal_orders (device_id, booking_id, why, at)
    select v_device, i, p_why, ezrec.now() from unnest(v_ids) i
    on conflict (device_id, booking_id) do nothing;
    return to_jsonb(v_ids);
end $$;

create or replace function public.ezrec_film_removed(p_device text, p_removals jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_new integer;
begin
    if v_device is not null and exists (select from jsonb_array_elements(p_removals) r where r ->> 'device' <> v_device) then
        raise exception 'these removals are not all of device %', v_device using errcode = 'PT400';
    end if;
    insert into public.removals (device_id, booking_id, key, verified_at, org_id, bytes, why, at)
    select
        r ->> 'device', r ->> 'booking_id', r ->> 'key', coalesce(r ->> 'verified_at', ''), r ->> 'org',
        (r ->> 'bytes')::bigint, r ->> 'why', ezrec.moment(r ->> 'at')
    from jsonb_array_elements(p_removals) r
    on conflict (device_id, booking_id, key, verified_at) do nothing;
    get diagnostics v_new = row_count;
    perform from public.shares s
    where (s.device_id, s.booking_id) in (
        select r ->> 'device', r ->> 'booking_id' from jsonb_array_elements(p_removals) r
    ) order by s.n for update;
    update public.shares s set revoked_at = ezrec.now()
    where s.revoked_at is null and s.expires_at > ezrec.now() and exists (
        select from jsonb_array_elements(p_removals) r
        where r ->> 'device' = s.device_id and r ->> 'booking_id' = s.booking_id and r ->> 'key' like '%/film.mp4'
    );
    return to_jsonb(v_new);
end $$;

create or replace function public.ezrec_removals(p_device text, p_limit integer, p_after jsonb default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_after constant timestamptz := case when p_after ->> 0 is not null then ezrec.moment(p_after ->> 0) end;
    v_answer jsonb;
begin
    select coalesce(jsonb_agg(jsonb_build_object(
        'booking_id', page.booking_id, 'org', page.org_id, 'device', page.device_id, 'key', page.key,
        'bytes', page.bytes, 'verified_at', page.verified_at, 'why', page.why, 'at', ezrec.utc(page.at)
    ) order by page.at desc, page.key desc), '[]') into v_answer
    from (
        select m.* from public.removals m
        where (v_device is null or m.device_id = v_device)
            and (v_after is null or (m.at, m.key) < (v_after, p_after ->> 1))
        order by m.at desc, m.key desc limit ezrec.page_limit(p_limit)
    ) page;
    return v_answer;
end $$;

-- One table's turn of pruning, counted only when something went.
create or replace function ezrec.counted(p_so_far jsonb, p_table text, p_count bigint) returns jsonb
language sql immutable set search_path = '' as $$
    select case when p_count > 0 then p_so_far || jsonb_build_object(p_table, p_count) else p_so_far end
$$;

create or replace function public.ezrec_prune(p_device text, p_before text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_before constant timestamptz := ezrec.moment(p_before);
    v_past public.court_bookings [];
    v_gone jsonb := '{}';
    v_count bigint;
begin
    perform set_config('ezrec.pruning', 'on', true);
    -- Locked before it is judged: a share made meanwhile waits for its booking, and then does not find it.
    select array_agg(p.b) into v_past from (
        select b from public.court_bookings b
        where (v_device is null or b.device_id = v_device) and b.ends_at < v_before
            and not exists (
                select from ezrec.objects_left o where o.device_id = b.device_id and o.booking_id = b.id
            )
            and not exists (
                select from public.shares s where s.device_id = b.device_id and s.booking_id = b.id
                    and s.revoked_at is null and s.expires_at > ezrec.now()
            )
        for update of b
    ) p;
    with gone as (
        delete from public.share_tokens t using public.shares s, unnest(v_past) p
        where s.share_id = t.share_id and s.device_id = p.device_id and s.booking_id = p.id returning 1
    ) select count(*) into v_count from gone;
    v_gone := ezrec.counted(v_gone, 'share_tokens', v_count);
    with gone as (
        delete from public.shares s using unnest(v_past) p
        where s.device_id = p.device_id and s.booking_id = p.id returning 1
    ) select count(*) into v_count from gone;
    v_gone := ezrec.counted(v_gone, 'shares', v_count);
    with gone as (
        delete from public.results r
        where (v_device is null or r.device_id = v_device) and (
            exists (select from unnest(v_past) p where p.device_id = r.device_id and p.id = r.booking_id)
            or r.stored_at < v_before
            and not exists (select from public.court_bookings b where b.device_id = r.device_id and b.id = r.booking_id)
            and not exists (select from ezrec.objects_left o where o.device_id = r.device_id and o.booking_id = r.booking_id)
        ) returning r.device_id, r.booking_id, r.kind
    ), shown as (
        delete from public.recordings c using gone
        where gone.kind = 'recording' and c.device_id = gone.device_id and c.booking_id = gone.booking_id returning 1
    ), films as (
        delete from public.videos v using gone
        where gone.kind = 'upload' and v.device_id = gone.device_id and v.booking_id = gone.booking_id returning 1
    ) select count(*) into v_count from gone;
    v_gone := ezrec.counted(v_gone, 'results', v_count);
    with gone as (
        delete from public.removal_orders w using unnest(v_past) p
        where w.device_id = p.device_id and w.booking_id = p.id returning 1
    ) select count(*) into v_count from gone;
    v_gone := ezrec.counted(v_gone, 'removal_orders', v_count);
    with gone as (
        delete from public.notifications n
        where (v_device is null or n.device_id = v_device) and n.state <> 'waiting'
            and coalesce(n.done_at, n.created_at) < v_before returning 1
    ) select count(*) into v_count from gone;
    v_gone := ezrec.counted(v_gone, 'notifications', v_count);
    with gone as (
        delete from public.notices n
        where (v_device is null or n.device_id = v_device) and n.expanded_at < v_before returning 1
    ) select count(*) into v_count from gone;
    v_gone := ezrec.counted(v_gone, 'notices', v_count);
    with gone as (
        delete from public.device_commands c
        where (v_device is null or c.device_id = v_device)
            and coalesce(c.answered_at, c.deadline, c.created_at) < v_before
            and (c.answered_at is not null or c.deadline is not null) returning 1
    ) select count(*) into v_count from gone;
    v_gone := ezrec.counted(v_gone, 'device_commands', v_count);
    with gone as (
        delete from public.court_bookings b using unnest(v_past) p
        where b.device_id = p.device_id and b.id = p.id returning 1
    ) select count(*) into v_count from gone;
    v_gone := ezrec.counted(v_gone, 'bookings', v_count);
    perform set_config('ezrec.pruning', '', true);
    return v_gone;
end $$;

insert into ezrec.migrations (name) values ('0010_keeping') on conflict do nothing;
