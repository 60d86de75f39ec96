/* Answers one question with a compiled model, writing the answer as it is made.
 *
 *   answer BUNDLE QUESTION
 *
 * Built against a package of `slmc package --format folder`; README.md has the commands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slm.h"

static int failed(const slm_error *error) {
  fprintf(stderr, "error: %s (%d)\n", error->message, (int)error->code);
  return 1;
}

/* Takes a piece of the answer: whole characters, not ended by a zero. */
static int32_t print(void *user, uint32_t id, const char *text, size_t bytes) {
  (void)id;
  return fwrite(text, 1, bytes, user) == bytes && fflush(user) == 0 ? 0 : 1;
}

/* Ids of the question as a chat, or as plain text for a model without a chat template. The caller frees them. */
static int32_t ask(slm_session *session, int has_chat, const char *question, uint32_t **ids, size_t *count,
                   slm_error *error) {
  const slm_message message = {"user", question, strlen(question)};
  size_t capacity = 0;
  int32_t code;
  *ids = NULL;
  do { /* the first call tells how many there are */
    free(*ids);
    *ids = malloc((capacity + 1) * sizeof **ids);
    if (*ids == NULL) abort();
    code = has_chat ? slm_chat_prompt(session, &message, 1, 0, *ids, capacity, count, error)
                    : slm_tokenize(session, question, strlen(question), SLM_FRAME, *ids, capacity, count, error);
    capacity = *count;
  } while (code == SLM_ERR_BUFFER);
  return code;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s BUNDLE QUESTION\n", argv[0]);
    return 2;
  }
  slm_error error = {0};
  slm_model *model = NULL;
  slm_session *session = NULL;
  slm_info_t info;
  uint32_t *ids = NULL;
  size_t count = 0;
  slm_generation how = {.sampling = {.top_p = 1, .repetition_penalty = 1}, .receiver = print, .user = stdout};
  slm_generated told = {0};

  if (slm_open(argv[1], NULL, 0, 0, &model, &error) != SLM_OK) return failed(&error);
  if (slm_info(model, &info, &error) != SLM_OK) return failed(&error);
  if (slm_session_open(model, &session, &error) != SLM_OK) return failed(&error);
  if (ask(session, info.has_chat == 1, argv[2], &ids, &count, &error) != SLM_OK) return failed(&error);
  if (slm_generate(session, ids, count, &how, &told, &error) != SLM_OK) return failed(&error);
  putchar('\n');
  fprintf(stderr, "%u tokens, %.1f a second\n", (unsigned)told.tokens,
          told.decode_ns > 0 ? told.tokens * 1e9 / (double)told.decode_ns : 0.0);
  free(ids);
  slm_session_close(session);
  return slm_close(model, &error) == SLM_OK ? 0 : failed(&error);
}
