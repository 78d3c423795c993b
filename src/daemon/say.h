/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's lines for people, on standard error: what went wrong and what was changed.
 */
#ifndef MAL_DAEMON_SAY_H
#define MAL_DAEMON_SAY_H

#include "base/attr.h"

/* "mallardd: <text>\n" in one write. */
void daemon_say(const char *format, ...) MAL_PRINTF(1, 2);

/* The same for what may go wrong again and again, such as a full disk: a text that was the last
 * one said of this kind is not repeated. */
enum daemon_complaint {
    DAEMON_COMPLAINT_KEEP,   /* writing into the keep folder */
    DAEMON_COMPLAINT_FOLDER, /* looking at the folder of boxes */
    DAEMON_COMPLAINT_TABLE,  /* more processes than the daemon follows */
    DAEMON_COMPLAINTS
};
void daemon_complain(enum daemon_complaint kind, const char *format, ...) MAL_PRINTF(2, 3);
/* It works again: the same complaint is said anew, if some time has passed since. */
void daemon_content(enum daemon_complaint kind);

#endif
