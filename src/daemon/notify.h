/* SPDX-License-Identifier: Apache-2.0
 *
 * Telling the service manager: sd_notify's datagrams.
 */
#ifndef MAL_DAEMON_NOTIFY_H
#define MAL_DAEMON_NOTIFY_H

/* Sends `state` ("READY=1") to $NOTIFY_SOCKET; does nothing where there is none. Main thread. */
void daemon_notify(const char *state);

/* RELOADING=1 with the time that Type=notify-reload asks for. */
void daemon_notify_reloading(void);

#endif
