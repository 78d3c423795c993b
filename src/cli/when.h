/* SPDX-License-Identifier: Apache-2.0
 *
 * Moments as people write them: "1700000000", "14:30", "14:30:05", "-10m".
 */
#ifndef MAL_CLI_WHEN_H
#define MAL_CLI_WHEN_H

#include <stdint.h>
#include <time.h>

/* Seconds since 1970 as they are; a time of day is the last one that was, in local time; "-10m" is
 * before `now`, in s, m, h or d. -EINVAL for anything else. */
int cli_when(const char *text, time_t now, uint64_t *ret_unix_s);

#define CLI_CLOCK_BYTES 20
/* "14:30:05" for today, "Nov 22 14:30" for other days of the last months, else "2025-11-22". */
void cli_clock_text(uint64_t unix_s, time_t now, char ret_text[CLI_CLOCK_BYTES]);

#endif
