-- Functions of cloud_bridge.stores.messages.MessageStore: for whoever sends (service_role), and, as far as row level
-- security lets them, for the people of an organisation (recipients).

create or replace function public.ezrec_open_notices(p_device text, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_answer jsonb;
begin
    select coalesce(jsonb_agg(page.one order by page.n), '[]') into v_answer
    from (
        select n.n, jsonb_build_object(
            'device', n.device_id, 'notice', jsonb_build_object(
                'id', n.id, 'kind', n.kind, 'subject', n.subject, 'at', ezrec.utc(n.at), 'data', n.data
            ),
            'title', p.title, 'contacts', to_jsonb(coalesce(p.contacts, '{}')), 'audience', coalesce(b.audience, 'link'),
            'start', ezrec.utc(b.starts_at), 'end', ezrec.utc(b.ends_at), 'booking_kind', b.kind,
            'record', coalesce(b.record, 'yes'), 'zone', d.timezone
        ) as one
        from public.notices n
        join public.devices d on d.id = n.device_id
        left join public.court_bookings b on b.device_id = n.device_id and b.id = n.subject
            and (n.kind like 'film\_%' or n.kind = 'preflight_failed')
        left join public.booking_people p on p.device_id = b.device_id and p.booking_id = b.id
        where n.expanded_at is null and (v_device is null or n.device_id = v_device)
        order by n.n limit ezrec.page_limit(p_limit)
    ) page;
    return v_answer;
end $$;

create or replace function public.ezrec_add_notice(p_device text, p_notice jsonb) returns jsonb
language plpgsql set search_path = '' as $$
begin
    return to_jsonb(ezrec.write_notice(ezrec.scope(p_device, true), p_notice));
end $$;

-- Two devices may have given two notices the same id: the one meant is the messages' device's, else the oldest open one.
create or replace function public.ezrec_expand(p_device text, p_notice_id text, p_messages jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := coalesce(ezrec.scope(p_device, false), p_messages #>> '{0,device}');
    v_notice public.notices;
    v_count integer;
begin
    select n.* into v_notice from public.notices n
    where n.id = p_notice_id and (v_device is null or n.device_id = v_device)
    order by n.expanded_at is not null, n.n limit 1 for update;
    if not found then
        raise exception 'there is no notice %', p_notice_id using errcode = 'PT404';
    end if;
    if v_notice.expanded_at is not null then
        return to_jsonb(0);
    end if;
    update public.notices n set expanded_at = ezrec.now() where n.device_id = v_notice.device_id and n.id = v_notice.id;
    insert into public.notifications (
        id, device_id, subject, kind, channel, recipient, language, not_before, due_at, data, created_at
    )
    select
        'n' || left(replace(gen_random_uuid()::text, '-', ''), 20), m ->> 'device', m ->> 'subject', m ->> 'kind',
        m ->> 'channel', m ->> 'recipient', m ->> 'language', ezrec.moment(m ->> 'not_before'),
        ezrec.moment(m ->> 'not_before'), coalesce(m -> 'data', '{}'), ezrec.now()
    from jsonb_array_elements(p_messages) with ordinality as a (m, i) order by i
    on conflict (device_id, subject, kind, channel, recipient) do nothing;
    get diagnostics v_count = row_count;
    return to_jsonb(v_count);
end $$;

-- Two senders at once never take the same one: what the other has under its hands is passed over.
create or replace function public.ezrec_claim(p_device text, p_sender text, p_lease_s double precision, p_limit integer)
returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_now constant timestamptz := ezrec.now();
    v_answer jsonb;
begin
    with due as (
        select n.id from public.notifications n
        where n.state = 'waiting' and n.due_at <= v_now and (n.claimed_until is null or n.claimed_until <= v_now)
            and (v_device is null or n.device_id = v_device)
        order by n.n limit ezrec.page_limit(p_limit) for update skip locked
    ), ours as (
        update public.notifications n set
            claimed_by = p_sender, claimed_until = v_now + make_interval(secs => p_lease_s), attempt = n.attempt + 1
        from due where n.id = due.id returning n.*
    )
    select coalesce(jsonb_agg(jsonb_build_object(
        'id', o.id, 'attempt', o.attempt, 'claimed_until', ezrec.utc(o.claimed_until), 'message', jsonb_build_object(
            'device', o.device_id, 'subject', o.subject, 'kind', o.kind, 'channel', o.channel, 'recipient', o.recipient,
            'language', o.language, 'not_before', ezrec.utc(o.not_before), 'data', o.data
        )
    ) order by o.n), '[]') into v_answer from ours o;
    return v_answer;
end $$;

create or replace function public.ezrec_sent(p_device text, p_message_id text, p_sender text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_row public.notifications;
begin
    select n.* into v_row from public.notifications n
    where n.id = p_message_id and (v_device is null or n.device_id = v_device) for update;
    if not found then
        raise exception 'there is no message %', p_message_id using errcode = 'PT404';
    end if;
    if v_row.state <> 'sent' then
        update public.notifications set state = 'sent', done_at = ezrec.now(), why = null where id = p_message_id;
        if v_row.data -> 'share' = 'true' then
            -- All rows before the first number of the counter, as everybody takes them.
            perform from public.shares s
            where s.device_id = v_row.device_id and s.booking_id = v_row.subject order by s.n for update;
            update public.shares s set delivered_at = coalesce((
                select min(o.delivered_at) from public.shares o
                where o.device_id = v_row.device_id and o.booking_id = v_row.subject
            ), ezrec.now())
            where s.device_id = v_row.device_id and s.booking_id = v_row.subject and s.delivered_at is null;
        end if;
    end if;
    return to_jsonb(coalesce(v_row.claimed_by = p_sender, false));
end $$;

create or replace function public.ezrec_not_sent(
    p_device text, p_message_id text, p_sender text, p_why text, p_again_at text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_again constant timestamptz := case when p_again_at is not null then ezrec.moment(p_again_at) end;
begin
    update public.notifications n set
        why = p_why, claimed_by = null, claimed_until = null,
        state = case when v_again is null then 'given_up' else 'waiting' end,
        done_at = case when v_again is null then ezrec.now() end, due_at = coalesce(v_again, n.due_at)
    where n.id = p_message_id and n.claimed_by = p_sender and n.state = 'waiting'
        and (v_device is null or n.device_id = v_device);
    return null;
end $$;

create or replace function public.ezrec_told(p_device text, p_cause text, p_since text) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'id', n.id, 'device', n.device_id, 'subject', n.subject, 'kind', n.kind, 'channel', n.channel,
        'recipient', n.recipient, 'language', n.language, 'state', n.state, 'created_at', ezrec.utc(n.created_at),
        'at', ezrec.utc(coalesce(n.done_at, n.due_at)), 'attempt', n.attempt, 'why', n.why, 'data', n.data
    ) order by n.n), '[]')
    from public.notifications n
    where n.device_id = p_device and n.created_at >= ezrec.moment(p_since)
        and (p_cause is null or n.subject = p_cause or starts_with(n.subject, p_cause || '@'))
$$;

create or replace function public.ezrec_recipients(p_device text) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'device', r.device_id, 'channel', r.channel, 'address', r.address, 'kinds', to_jsonb(r.kinds),
        'language', r.language, 'quiet', r.quiet
    ) order by r.channel, r.address), '[]')
    from public.recipients r where r.device_id = p_device
$$;

create or replace function public.ezrec_set_recipient(p_recipient jsonb) returns jsonb
language plpgsql set search_path = '' as $$
begin
    insert into public.recipients as r (device_id, channel, address, kinds, language, quiet)
    values (
        ezrec.scope(p_recipient ->> 'device', true), p_recipient ->> 'channel', p_recipient ->> 'address',
        ezrec.strings(coalesce(p_recipient -> 'kinds', '[]'), 'kinds'), coalesce(p_recipient ->> 'language', 'en'),
        p_recipient ->> 'quiet'
    ) on conflict (device_id, channel, address) do update set
        kinds = excluded.kinds, language = excluded.language, quiet = excluded.quiet;
    return null;
end $$;

create or replace function public.ezrec_remove_recipient(p_device text, p_channel text, p_address text) returns jsonb
language plpgsql set search_path = '' as $$
begin
    delete from public.recipients r where r.device_id = p_device and r.channel = p_channel and r.address = p_address;
    return to_jsonb(found);
end $$;

create or replace function public.ezrec_devices_seen(p_device text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_answer jsonb;
begin
    select coalesce(jsonb_agg(jsonb_build_object(
        'device', d.id, 'org', d.org_id, 'seen_at', ezrec.utc(s.seen_at), 'state', s.state, 'now', ezrec.utc(ezrec.now()),
        'next_booking', (
            select jsonb_build_array(b.id, ezrec.utc(b.starts_at)) from public.court_bookings b
            where b.device_id = d.id and b.status = 'confirmed' and b.record = 'yes' and b.kind <> 'cut'
                and b.ends_at > ezrec.now() and (b.kind <> 'booked' or d.automatic)
            order by b.starts_at, b.id limit 1
        )
    ) order by d.id), '[]') into v_answer
    from public.devices d left join public.device_status s on s.device_id = d.id
    where d.revoked_at is null and (v_device is null or d.id = v_device);
    return v_answer;
end $$;

insert into ezrec.migrations (name) values ('0009_messages') on conflict do nothing;
