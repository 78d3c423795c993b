/* SPDX-License-Identifier: Apache-2.0
 *
 * From a reply to what libmicrohttpd sends.
 */
#ifndef MAL_HTTP_RESPONSE_H
#define MAL_HTTP_RESPONSE_H

#include "http/request.h"

#include <microhttpd.h>

/* Queues the reply on its connection and takes the memory of its body. On MHD_NO, which the
 * library's handlers pass on, the connection ends; the body is then still the reply's, or gone. */
enum MHD_Result http_response_queue(struct http_reply *reply, struct MHD_Connection *connection);

#endif
