-- Functions of cloud_bridge.stores.media.UserMediaStore, for the API in the cloud and the keeper (service_role).

create or replace function ezrec.media_row(p_row public.user_media) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'whose', jsonb_build_object('of', p_row.whose, 'id', p_row.who), 'slot', p_row.slot,
        'file', jsonb_build_object(
            'sha256', p_row.sha256, 'bytes', p_row.bytes, 'kind', p_row.kind, 'width', p_row.width,
            'height', p_row.height, 'seconds', p_row.seconds
        ),
        'look', case when p_row.place is not null then jsonb_build_object(
            'place', p_row.place, 'size', p_row.size, 'opacity', p_row.opacity
        ) end,
        'updated_at', ezrec.utc(p_row.updated_at)
    )
$$;

-- An object is unused from when its last row went.
create or replace function ezrec.use_assets(p_hashes text []) returns void
language plpgsql set search_path = '' as $$
begin
    insert into public.assets (sha256) select distinct h from unnest(p_hashes) h where h is not null
    on conflict do nothing;
    update public.assets a set unused_since = case
        when not exists (select from public.user_media m where m.sha256 = a.sha256)
            then coalesce(a.unused_since, ezrec.now())
    end
    where a.sha256 = any (p_hashes);
end $$;

create or replace function public.ezrec_media(p_device text, p_of text, p_who text) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(ezrec.media_row(m)), '[]') from public.user_media m
    where m.whose = p_of and m.who = p_who
$$;

create or replace function public.ezrec_set_media(
    p_device text, p_of text, p_who text, p_slot text, p_file jsonb, p_look jsonb, p_default jsonb
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_old public.user_media;
    v_row public.user_media;
    v_look jsonb;
begin
    select m.* into v_old from public.user_media m
    where m.whose = p_of and m.who = p_who and m.slot = p_slot for update;
    v_row := jsonb_populate_record(null::public.user_media, p_file - 'updated_at');
    v_row.whose := p_of;
    v_row.who := p_who;
    v_row.slot := p_slot;
    v_row.updated_at := ezrec.now();
    if p_slot <> 'intro' then
        v_look := coalesce(nullif(p_look, 'null'), case when v_old.place is not null then jsonb_build_object(
            'place', v_old.place, 'size', v_old.size, 'opacity', v_old.opacity
        ) end, p_default);
        v_row.place := v_look ->> 'place';
        v_row.size := (v_look ->> 'size')::double precision;
        v_row.opacity := (v_look ->> 'opacity')::double precision;
    end if;
    if v_old.slot is not null and to_jsonb(v_old) - 'updated_at' = to_jsonb(v_row) - 'updated_at' then
        return ezrec.media_row(v_old);
    end if;
    insert into public.user_media select v_row.*
    on conflict (whose, who, slot) do update set
        sha256 = excluded.sha256, bytes = excluded.bytes, kind = excluded.kind, width = excluded.width,
        height = excluded.height, seconds = excluded.seconds, place = excluded.place, size = excluded.size,
        opacity = excluded.opacity, updated_at = excluded.updated_at;
    perform ezrec.use_assets(array[v_row.sha256, v_old.sha256]);
    return ezrec.media_row(v_row);
end $$;

create or replace function public.ezrec_change_look(p_device text, p_of text, p_who text, p_slot text, p_look jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_old public.user_media;
begin
    select m.* into v_old from public.user_media m where m.whose = p_of and m.who = p_who and m.slot = p_slot;
    if not found then
        raise exception 'there is no % of %', p_slot, p_who using errcode = 'PT404';
    elsif v_old.place is null then
        raise exception 'an intro has no place, size or opacity' using errcode = 'PT409';
    end if;
    return public.ezrec_set_media(p_device, p_of, p_who, p_slot, jsonb_build_object(
        'sha256', v_old.sha256, 'bytes', v_old.bytes, 'kind', v_old.kind, 'width', v_old.width,
        'height', v_old.height, 'seconds', v_old.seconds
    ), p_look, p_look);
end $$;

create or replace function public.ezrec_remove_media(p_device text, p_of text, p_who text, p_slot text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_hash text;
begin
    delete from public.user_media m where m.whose = p_of and m.who = p_who and m.slot = p_slot
    returning m.sha256 into v_hash;
    perform ezrec.use_assets(array[v_hash]);
    return to_jsonb(v_hash is not null);
end $$;

-- False: it is being removed right now.
create or replace function public.ezrec_claim_asset(p_device text, p_sha256 text, p_lease_s double precision)
returns jsonb
language plpgsql set search_path = '' as $$
begin
    insert into public.assets as a (sha256, unused_since) values (p_sha256, ezrec.now())
    on conflict (sha256) do update set unused_since = excluded.unused_since, removing_since = null
    where a.removing_since is null or a.removing_since <= ezrec.now() - make_interval(secs => p_lease_s);
    if not found then
        return 'false';
    end if;
    perform ezrec.use_assets(array[p_sha256]);
    return 'true';
end $$;

create or replace function public.ezrec_assets_in_use(p_device text) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(distinct m.sha256), '[]') from public.user_media m
$$;

create or replace function ezrec.asset_due(p_row public.assets, p_before timestamptz, p_lease_s double precision)
returns boolean
language sql stable set search_path = '' as $$
    select p_row.unused_since < p_before
        and (p_row.removing_since is null or p_row.removing_since < ezrec.now() - make_interval(secs => p_lease_s))
        and not exists (select from public.user_media m where m.sha256 = p_row.sha256)
$$;

create or replace function public.ezrec_assets_due(
    p_device text, p_before text, p_lease_s double precision, p_limit integer
) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(due.sha256 order by due.unused_since, due.sha256), '[]') from (
        select a.sha256, a.unused_since from public.assets a
        where ezrec.asset_due(a, ezrec.moment(p_before), p_lease_s)
        order by a.unused_since, a.sha256 limit ezrec.page_limit(p_limit)
    ) due
$$;

create or replace function public.ezrec_begin_removal(
    p_device text, p_sha256 text, p_before text, p_lease_s double precision
) returns jsonb
language plpgsql set search_path = '' as $$
begin
    update public.assets a set removing_since = ezrec.now()
    where a.sha256 = p_sha256 and ezrec.asset_due(a, ezrec.moment(p_before), p_lease_s);
    return to_jsonb(found);
end $$;

create or replace function public.ezrec_asset_removed(p_device text, p_sha256 text) returns jsonb
language plpgsql set search_path = '' as $$
begin
    delete from public.assets a where a.sha256 = p_sha256 and a.removing_since is not null;
    return 'null';
end $$;

-- --- privileges, as in 0013 ---

do $$
declare
    v_name text;
begin
    for v_name in
        select p.oid::regprocedure::text from pg_proc p
        where (p.pronamespace = 'public'::regnamespace and p.proname = any (array [
            'ezrec_media', 'ezrec_set_media', 'ezrec_change_look', 'ezrec_remove_media', 'ezrec_claim_asset',
            'ezrec_assets_in_use', 'ezrec_assets_due', 'ezrec_begin_removal', 'ezrec_asset_removed'
        ])) or (p.pronamespace = 'ezrec'::regnamespace and p.proname = any (array [
            'media_row', 'use_assets', 'asset_due'
        ]))
    loop
        execute format('revoke all on function %s from public, anon, authenticated, ezrec_device', v_name);
        execute format('grant execute on function %s to service_role', v_name);
    end loop;
end $$;

notify pgrst, 'reload schema';

insert into ezrec.migrations (name) values ('0014_media') on conflict do nothing;
