/* SPDX-License-Identifier: Apache-2.0
 *
 * The pages that need no JavaScript: page.c the list of processes, page_process.c one of them.
 */
#ifndef MAL_HTTP_PAGE_H
#define MAL_HTTP_PAGE_H

#include "http/entry.h"
#include "http/request.h"

/* Appends the page of the process that the request is about, or replies the error. */
void http_page_process(struct http_request *request, struct http_reply *reply);

/* "+1.2 MiB", "−3 KiB", "not known yet". */
void http_page_growth(struct view_buffer *out, const struct http_entry *entry);

#endif
