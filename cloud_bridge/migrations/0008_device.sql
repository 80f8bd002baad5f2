-- Functions of cloud_bridge.stores.device.DeviceStore.

create or replace function ezrec.batch(p_rows jsonb, p_name text) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
    if jsonb_typeof(p_rows) is distinct from 'array' or jsonb_array_length(p_rows) > 100 then
        raise exception '%: a list of at most 100 was expected', p_name using errcode = 'PT400';
    end if;
    return p_rows;
end $$;

-- In their order, all or none; a row that is not above the stored one's `seq` is an old one come late.
create or replace function public.ezrec_save_results(p_device text, p_rows jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, true);
    v_row jsonb;
    v_news integer := 0;
begin
    for v_row in select e from jsonb_array_elements(ezrec.batch(p_rows, 'p_rows')) with ordinality as a (e, n) order by n loop
        insert into public.results as r (device_id, booking_id, kind, seq, body, stored_at)
        values (
            v_device, v_row ->> 'booking_id', v_row ->> 'kind', (v_row ->> 'seq')::bigint, v_row -> 'body', ezrec.now()
        ) on conflict (device_id, booking_id, kind) do update set
            seq = excluded.seq, body = excluded.body, stored_at = excluded.stored_at
        where r.seq < excluded.seq;
        v_news := v_news + found::integer;
    end loop;
    return to_jsonb(v_news);
end $$;

create or replace function ezrec.write_notice(p_device text, p_notice jsonb) returns boolean
language plpgsql set search_path = '' as $$
begin
    insert into public.notices (device_id, id, kind, subject, at, data, created_at)
    values (
        p_device, p_notice ->> 'id', p_notice ->> 'kind', p_notice ->> 'subject', ezrec.moment(p_notice ->> 'at'),
        coalesce(p_notice -> 'data', '{}'), ezrec.now()
    ) on conflict (device_id, id) do nothing;
    return found;
end $$;

create or replace function public.ezrec_add_notices(p_device text, p_notices jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, true);
    v_notice jsonb;
    v_news integer := 0;
begin
    for v_notice in
        select e from jsonb_array_elements(ezrec.batch(p_notices, 'p_notices')) with ordinality as a (e, n) order by n
    loop
        v_news := v_news + ezrec.write_notice(v_device, v_notice)::integer;
    end loop;
    return to_jsonb(v_news);
end $$;

create or replace function public.ezrec_answer_command(p_device text, p_command_id text, p_answer jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, true);
begin
    if p_answer is null then
        raise exception 'p_answer is null, an answer was expected' using errcode = 'PT400';
    end if;
    update public.device_commands set answer = p_answer, answered_at = ezrec.now()
    where device_id = v_device and id = p_command_id and answered_at is null;
    if found then
        return to_jsonb(true);
    end if;
    if not exists (select from public.device_commands c where c.device_id = v_device and c.id = p_command_id) then
        raise exception 'there is no command %', p_command_id using errcode = 'PT404';
    end if;
    return to_jsonb(false);
end $$;

create or replace function public.ezrec_order_command(p_device text, p_command jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, true);
    v_id constant text := coalesce(p_command ->> 'id', 'c' || left(replace(gen_random_uuid()::text, '-', ''), 20));
    v_deadline constant timestamptz :=
        case when p_command ->> 'deadline' is not null then ezrec.moment(p_command ->> 'deadline') end;
    v_by constant text := coalesce(ezrec.me(), p_command ->> 'by');
begin
    if coalesce(p_command ->> 'target', '') = '' or coalesce(p_command ->> 'name', '') = '' then
        raise exception 'a command needs a target and a name' using errcode = 'PT409';
    end if;
    insert into public.device_commands (device_id, id, target, name, args, deadline, ordered_by, created_at)
    values (
        v_device, v_id, p_command ->> 'target', p_command ->> 'name',
        coalesce(nullif(p_command -> 'args', 'null'), '{}'), v_deadline, v_by, ezrec.now()
    ) on conflict (device_id, id) do nothing;
    if not found and not exists (
        select from public.device_commands c
        where c.device_id = v_device and c.id = v_id and c.target = p_command ->> 'target'
            and c.name = p_command ->> 'name' and c.args = coalesce(nullif(p_command -> 'args', 'null'), '{}')
            and c.deadline is not distinct from v_deadline and c.ordered_by is not distinct from v_by
    ) then
        raise exception 'there is another command %', v_id using errcode = 'PT409';
    end if;
    return to_jsonb(v_id);
end $$;

insert into ezrec.migrations (name) values ('0008_device') on conflict do nothing;
