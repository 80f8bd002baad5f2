-- Functions of cloud_bridge.stores.base.Store: shares, and keys for programs.

create or replace function ezrec.share_row(p_row public.shares) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'share_id', p_row.share_id, 'booking_id', p_row.booking_id, 'created_at', ezrec.utc(p_row.created_at),
        'expires_at', ezrec.utc(p_row.expires_at), 'revoked_at', ezrec.utc(p_row.revoked_at),
        'views', p_row.views, 'downloads', p_row.downloads
    )
$$;

create or replace function ezrec.new_share(p_row public.court_bookings, p_expires_at text) returns public.shares
language plpgsql set search_path = '' as $$
declare
    v_share public.shares;
begin
    insert into public.shares (share_id, device_id, booking_id, created_at, expires_at)
    values (
        's' || left(replace(gen_random_uuid()::text, '-', ''), 16), p_row.device_id, p_row.id, ezrec.now(),
        ezrec.moment(p_expires_at)
    ) returning * into v_share;
    return v_share;
end $$;

-- Two at once ask for the booking's share: the second waits and gets the first one's.
create or replace function ezrec.one_at_a_time(p_row public.court_bookings) returns void
language sql set search_path = '' as $$
    select pg_advisory_xact_lock(hashtextextended('ezrec shares of ' || p_row.device_id || '/' || p_row.id, 0))
$$;

create or replace function public.ezrec_make_share(p_device text, p_booking_id text, p_expires_at text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_row constant public.court_bookings := ezrec.must_booking(ezrec.scope(p_device, false), p_booking_id);
    v_share public.shares;
begin
    perform ezrec.one_at_a_time(v_row);
    select s.* into v_share from public.shares s
    where s.device_id = v_row.device_id and s.booking_id = v_row.id
    order by s.revoked_at is not null, s.n limit 1;
    if not found then
        v_share := ezrec.new_share(v_row, p_expires_at);
    end if;
    return ezrec.share_row(v_share);
end $$;

create or replace function public.ezrec_issue_link(
    p_device text, p_booking_id text, p_expires_at text, p_token_hash text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_row constant public.court_bookings := ezrec.must_booking(ezrec.scope(p_device, false), p_booking_id);
    v_share public.shares;
begin
    perform ezrec.one_at_a_time(v_row);
    select s.* into v_share from public.shares s
    where s.device_id = v_row.device_id and s.booking_id = v_row.id
        and s.revoked_at is null and s.expires_at > ezrec.now()
        and not exists (select from public.share_tokens t where t.share_id = s.share_id)
    order by s.n limit 1;
    if not found then
        v_share := ezrec.new_share(v_row, p_expires_at);
    end if;
    insert into public.share_tokens (token_hash, share_id) values (p_token_hash, v_share.share_id);
    return ezrec.share_row(v_share);
end $$;

create or replace function public.ezrec_share_of(p_device text, p_token_hash text) returns jsonb
language sql stable set search_path = '' as $$
    select ezrec.share_row(s) from public.share_tokens t join public.shares s on s.share_id = t.share_id
    where t.token_hash = p_token_hash and s.device_id = coalesce(ezrec.scope(p_device, false), s.device_id)
$$;

create or replace function public.ezrec_share(p_device text, p_share_id text) returns jsonb
language sql stable set search_path = '' as $$
    select ezrec.share_row(s) from public.shares s
    where s.share_id = p_share_id and s.device_id = coalesce(ezrec.scope(p_device, false), s.device_id)
$$;

create or replace function public.ezrec_shares(
    p_device text, p_owner text, p_limit integer, p_after jsonb default null
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_after constant timestamptz := case when p_after ->> 0 is not null then ezrec.moment(p_after ->> 0) end;
    v_answer jsonb;
begin
    select coalesce(
        jsonb_agg(ezrec.share_row(page.s) order by (page.s).created_at desc, (page.s).share_id desc), '[]'
    ) into v_answer
    from (
        select s from public.shares s
        join public.court_bookings b on b.device_id = s.device_id and b.id = s.booking_id
        where (v_device is null or s.device_id = v_device)
            and (p_owner is null or b.owner = p_owner)
            and (v_after is null or (s.created_at, s.share_id) < (v_after, p_after ->> 1))
        order by s.created_at desc, s.share_id desc limit ezrec.page_limit(p_limit)
    ) page;
    return v_answer;
end $$;

create or replace function public.ezrec_revoke_share(p_device text, p_share_id text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
    v_share public.shares;
begin
    update public.shares s set revoked_at = coalesce(s.revoked_at, ezrec.now())
    where s.share_id = p_share_id and (v_device is null or s.device_id = v_device)
    returning s.* into v_share;
    if not found then
        raise exception 'there is no share %', p_share_id using errcode = 'PT404';
    end if;
    return ezrec.share_row(v_share);
end $$;

create or replace function public.ezrec_count(p_device text, p_share_id text, p_what text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_device constant text := ezrec.scope(p_device, false);
begin
    if p_what not in ('views', 'downloads') then
        raise exception '% is not counted: views or downloads were expected', quote_nullable(p_what) using errcode = 'PT400';
    end if;
    update public.shares s set
        views = s.views + (p_what = 'views')::integer, downloads = s.downloads + (p_what = 'downloads')::integer
    where s.share_id = p_share_id and (v_device is null or s.device_id = v_device);
    return null;
end $$;

-- --- keys for programs ---

create or replace function public.ezrec_make_token(p_device text, p_role text, p_user text, p_token_hash text) returns jsonb
language plpgsql set search_path = '' as $$
begin
    if p_user !~ '^[a-z0-9_-]{1,64}$' then
        raise exception '% is no id: 1 to 64 of a-z, 0-9, _ and - were expected', quote_literal(left(p_user, 80))
            using errcode = 'PT409';
    end if;
    insert into public.api_tokens (token_hash, org_id, user_id, role)
    select p_token_hash, d.org_id, p_user, p_role from public.devices d where d.id = ezrec.scope(p_device, true);
    return null;
end $$;

-- Without a device whoever asks serves several organisations, and is told which.
create or replace function public.ezrec_principal(p_device text, p_token_hash text) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'user', t.user_id, 'role', t.role, 'org', case when p_device is null then t.org_id end
    )
    from public.api_tokens t
    where t.token_hash = p_token_hash and t.revoked_at is null
        and (p_device is null or t.org_id = (select d.org_id from public.devices d where d.id = ezrec.scope(p_device, true)))
$$;

create or replace function public.ezrec_revoke_tokens(p_device text, p_user text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_count integer;
begin
    update public.api_tokens t set revoked_at = ezrec.now()
    where t.user_id = p_user and t.revoked_at is null
        and t.org_id = (select d.org_id from public.devices d where d.id = ezrec.scope(p_device, true));
    get diagnostics v_count = row_count;
    return to_jsonb(v_count);
end $$;

insert into ezrec.migrations (name) values ('0007_shares') on conflict do nothing;
