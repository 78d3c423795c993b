/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon as a whole: what main makes, runs and ends.
 */
#ifndef MAL_DAEMON_DAEMON_H
#define MAL_DAEMON_DAEMON_H

#include "daemon/settings.h"

/* Runs until it is told to end. `flags` are the settings as the flags alone give them, for reading
 * the file again; `settings` those in force. Returns the exit status. */
int daemon_run(const struct settings *flags, const struct settings *settings);

#endif
