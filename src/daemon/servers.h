/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's servers: one for TCP, one for a Unix socket.
 */
#ifndef MAL_DAEMON_SERVERS_H
#define MAL_DAEMON_SERVERS_H

#include "daemon/metrics.h"
#include "daemon/settings.h"
#include "http/server.h"

#define SERVERS_PEM_BYTES (256u << 10)

struct servers {
    struct http_server *tcp, *local; /* NULL: not asked for */
    struct http_source source;
    struct view_symbols *symbols;
    struct daemon_metrics *metrics;
    char tcp_address[128]; /* with the port that was chosen */
    char token[HTTP_TOKEN_BYTES];
    char *certificate_pem, *key_pem; /* NULL: no TLS */
};

/* Starts what the settings ask for. On failure -errno and a sentence, and nothing runs. */
int servers_start(struct servers *servers, const struct settings *settings,
                  char ret_problem[SETTINGS_PROBLEM_BYTES]);
void servers_stop(struct servers *servers);

/* Reads token and certificate again; where they are others now, the servers are started anew, on
 * the same addresses. On failure the old ones serve on. Returns 1 when something changed, else 0
 * or -errno and a sentence. */
int servers_reload(struct servers *servers, const struct settings *settings,
                   char ret_problem[SETTINGS_PROBLEM_BYTES]);

#endif
