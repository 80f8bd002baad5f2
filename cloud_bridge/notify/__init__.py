"""How films reach the people who played, and how somebody hears of trouble.

A `Notice` is written by the device (`cloud_bridge.notices`) or by the watch here; `spread` turns it into
messages, `sender` claims and sends them. What a text needs is in the notice's ``data``; texts are made here, in
every language, so ``data`` has facts and no sentences but where an alarm or check brought its own.

===================  ==========================  ===========================================================
kind                 subject                     data (times aware UTC text; a key that is not known is left out)
===================  ==========================  ===========================================================
film_ready           booking id                  ``kind`` booked / manual / cut, ``start``, ``end`` (planned), ``duration_s``
film_partial         booking id                  the same; ``lacks``: ``{"left": s, "right": s, "card": s}``, seconds for
                                                 which only that camera's picture is there (``card``: none at all);
                                                 ``missing``: ``[{"at_s": s, "for_s": s, "cameras": ["left"]}]``, the gaps
                                                 by position in the film, longest first, at most 10
film_missed          booking id                  ``kind``, ``start``, ``end``, ``state`` missed / failed, ``why``
alarm                ``{agent}/{alarm}``         ``severity``, ``text``, ``mend``, ``since``, ``subject``
recovered            ``{agent}/{alarm}``         the same as the alarm's, and ``over_at``
preflight_failed     booking id                  ``start``, ``checks``: ``[{"name", "value", "mend"}]`` of those that failed,
                                                 ``at``
silent (ours)        device id                   ``seen_at``, ``booking_id``, ``start``, ``stage`` 24h / 3h / 1h / 10min / now,
                                                 ``severity``
back (ours)          device id                   ``seen_at`` (before the silence), ``over_at``
test (ours)          device id                   nothing
===================  ==========================  ===========================================================

Notice ids are unique over all devices: they begin with the device's id.
"""
