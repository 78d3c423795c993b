/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may ask. Pure functions over the text of three headers, so that each rule is a test.
 */
#ifndef MAL_HTTP_GUARD_H
#define MAL_HTTP_GUARD_H

#include <stdbool.h>

/* True when a Host header names this machine's loopback: localhost, 127.0.0.0/8 or [::1], with
 * any port: `ssh -L` and container port maps change it, and a rebinding attack cannot. */
bool http_host_is_loopback(const char *host);

/* True unless the browser says that another site sent the request. Each may be NULL. */
struct http_site {
    const char *host;
    const char *origin;
    const char *fetch_site;
};
bool http_site_is_own(const struct http_site *site);

/* True when the Authorization header carries the token: as a Bearer, or as the password of Basic,
 * which is what http://x:TOKEN@host gives. The time taken does not depend on how much fits. */
bool http_token_matches(const char *authorization, const char *token);

#endif
