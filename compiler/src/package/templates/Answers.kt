package slmc

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.trySendBlocking
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.flow.flowOn

/** A chat that streams: keeps the messages and answers each new one. Needs kotlinx-coroutines. */
class Chat(private val model: Model, system: String? = null) {
    private val messages = ArrayList<Model.Message>()

    init {
        if (system != null) messages.add(Model.Message("system", system))
    }

    /** The answer to [text], piece by piece. A collector that goes away ends it. */
    fun answer(text: String, options: Model.Options = Model.Options()): Flow<String> = channelFlow {
        messages.add(Model.Message("user", text))
        val answer = model.answer(options, { piece -> trySendBlocking(piece).isSuccess }, *messages.toTypedArray())
        messages.add(Model.Message("assistant", answer.text))
    }.flowOn(Dispatchers.IO)

    /** Ends the answer that is being made. */
    fun cancel() = model.cancel()
}
