/* SPDX-License-Identifier: Apache-2.0
 *
 * What the documents under /api/ have in common. Every document is one object; its errors are
 * {"error":"…"}, which the route's flag JSON makes of any error reply.
 */
#ifndef MAL_HTTP_API_H
#define MAL_HTTP_API_H

#include "http/request.h"
#include "view/json.h"
#include "view/profile.h"
#include "view/rss.h"

#include <stdbool.h>

/* Begins and ends the document of a reply. */
struct view_json http_api_begin(struct http_reply *reply);
void http_api_end(struct view_json *json);

/* A parameter that is a count of something; `absent` where it is not given, or is none. */
uint64_t http_api_number(const struct http_request *request, const char *name, uint64_t absent);

/* The statistics of an open process as new as they can be had, in memory to be freed; NULL, with
 * the error replied. `ret_answers`: the process took the request to publish them. */
struct mal_box_stats *http_api_stats(const struct http_request *request, struct http_reply *reply,
                                     bool *ret_answers);

/* Takes the resident set of an open process apart: measured where that is possible. */
void http_api_rss(const struct http_request *request, const struct mal_box_stats *stats,
                  struct view_rss *ret_rss);

/* How well the samples know the live bytes: what view_live_spread says. */
double http_api_live_spread(struct mal_box_reader *reader);

/* The trace text from byte `*cursor` on, whole lines only; `*cursor` moves behind them. */
int http_api_trace_text(struct mal_box_reader *reader, uint64_t *cursor, struct view_buffer *out);

/* The heap profile of an open process: of now, or for `at` other than 0 the one stored then.
 * -ENOENT: no such profile is stored. Free with view_profile_free after success. */
int http_api_heap(const struct http_request *request, uint64_t at_unix_s,
                  struct view_profile *ret_profile);

#endif
