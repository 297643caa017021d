#!/bin/sh
# Becomes a program on a host of a network: $RTC_CAFE_INSIDE in the namespace $RTC_CAFE_NAMESPACE. It ends with whoever
# started it, even if that was killed.
exec nsenter --net="$RTC_CAFE_NAMESPACE" setpriv --pdeathsig KILL "$RTC_CAFE_INSIDE" "$@"
