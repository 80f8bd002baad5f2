"""How films reach the people who played, and how somebody hears of trouble.

A `Notice` is written by the device (`cloud_bridge.notices`) or by the watch here; `spread` turns it into
messages, `sender` claims and sends them. Texts are made here, in every language: ``Notice.data`` has facts,
and sentences only where an alarm or check brought its own. Times are aware UTC text; what is not known is
left out. Ids of notices are unique over all devices: they begin with the device's.

film_ready: subject is the booking. ``kind`` booked / manual / cut, ``start``, ``end`` (planned),
``duration_s``.

film_partial: the same, and ``lacks`` ``{"left": s, "right": s, "card": s}``, the seconds for which only that
camera's picture is there (``card``: none at all); ``missing``
``[{"at_s": s, "for_s": s, "cameras": ["left"]}]``, at most ten gaps by their position in the film.

film_missed: ``kind``, ``start``, ``end``, ``state`` missed / failed, ``why``.

alarm: subject is ``{agent}/{alarm}``. ``severity``, ``text``, ``mend``, ``since``, ``subject``.
recovered: the same as its alarm's, and ``over_at``.

preflight_failed: subject is the booking. ``start``, ``at``, and of the checks that failed ``checks``
``[{"name": n, "value": v, "mend": m}]``.

silent (by the watch): subject is the device. ``seen_at``, ``booking_id``, ``start``, ``severity``, ``stage``
24h / 3h / 1h / 10min / now. back: ``seen_at`` (before the silence), ``over_at``.

test (by `ezrec notify test`): nothing.
"""
