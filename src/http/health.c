/* SPDX-License-Identifier: Apache-2.0
 *
 * /healthz: the server answers. It says nothing about any process and so needs no token.
 *
 * SYNCHRONIZATION  None; runs on the loop, so that it tells whether the loop is alive.
 */
#include "http/routes.h"

void http_health(struct http_request *request, struct http_reply *reply) {
    (void)request;
    reply->type = HTTP_TYPE_TEXT;
    view_buffer_text(&reply->body, "ok\n");
}
