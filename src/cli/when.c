/* SPDX-License-Identifier: Apache-2.0
 *
 * Moments.
 *
 * SYNCHRONIZATION  None needed.
 */
#include "cli/when.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 12 /* what the numbers here can hold for thousands of years */
#define MONTHS_S (180 * 86400L)

/* A number at the front of `text` and its end; NULL when there is none or it is too long. */
static const char *number(const char *text, uint64_t *ret_number) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > DIGITS_MAX)
        return NULL;
    *ret_number = strtoull(text, NULL, 10);
    return text + digits;
}

static int ago(const char *text, time_t now, uint64_t *ret_unix_s) {
    static const char units[] = "smhd";
    static const uint64_t seconds[] = {1, 60, 3600, 86400};
    uint64_t count;
    const char *end = number(text, &count);
    const char *unit = end != NULL && *end != '\0' ? strchr(units, *end) : NULL;
    if (unit == NULL || end[1] != '\0')
        return -EINVAL;
    uint64_t back = count * seconds[unit - units];
    if (back > (uint64_t)now)
        return -EINVAL;
    *ret_unix_s = (uint64_t)now - back;
    return 0;
}

/* Reads ":NN" with NN below `limit`. */
static const char *part(const char *text, uint64_t limit, uint64_t *ret_number) {
    const char *end = *text == ':' ? number(text + 1, ret_number) : NULL;
    return end != NULL && end - text == 3 && *ret_number < limit ? end : NULL;
}

static int time_of_day(const char *at, uint64_t hours, time_t now, uint64_t *ret_unix_s) {
    uint64_t minutes;
    uint64_t seconds = 0;
    struct tm day;
    at = part(at, 60, &minutes);
    if (at != NULL && *at != '\0')
        at = part(at, 60, &seconds);
    if (at == NULL || *at != '\0' || hours > 23 || localtime_r(&now, &day) == NULL)
        return -EINVAL;
    day.tm_hour = (int)hours;
    day.tm_min = (int)minutes;
    day.tm_sec = (int)seconds;
    day.tm_isdst = -1;
    time_t moment = mktime(&day);
    if (moment > now) {
        day.tm_mday--;
        day.tm_hour = (int)hours;
        day.tm_isdst = -1;
        moment = mktime(&day);
    }
    *ret_unix_s = (uint64_t)moment;
    return 0;
}

int cli_when(const char *text, time_t now, uint64_t *ret_unix_s) {
    uint64_t first;
    if (*text == '-')
        return ago(text + 1, now, ret_unix_s);
    const char *end = number(text, &first);
    if (end == NULL)
        return -EINVAL;
    if (*end == ':' && end - text <= 2)
        return time_of_day(end, first, now, ret_unix_s);
    if (*end != '\0')
        return -EINVAL;
    *ret_unix_s = first;
    return 0;
}

void cli_clock_text(uint64_t unix_s, time_t now, char ret_text[CLI_CLOCK_BYTES]) {
    time_t moment = (time_t)unix_s;
    struct tm parts;
    struct tm today;
    if (localtime_r(&moment, &parts) == NULL || localtime_r(&now, &today) == NULL) {
        snprintf(ret_text, CLI_CLOCK_BYTES, "?");
        return;
    }
    bool same_day = parts.tm_yday == today.tm_yday && parts.tm_year == today.tm_year;
    bool recent = moment <= now && now - moment < MONTHS_S;
    strftime(ret_text, CLI_CLOCK_BYTES,
             same_day ? "%H:%M:%S"
             : recent ? "%b %e %H:%M"
                      : "%Y-%m-%d",
             &parts);
}
