import @CMODULE@
import Foundation

/// A call that failed: a code of the C header (SLM_ERR_...) and a message that names what was expected and found.
public struct @MODULE@Error: Error, CustomStringConvertible {
    public let code: Int32
    public let message: String
    public var description: String { "\(message) (\(code))" }

    init(_ error: @p@_slm_error) {
        code = error.code
        message = withUnsafeBytes(of: error.message) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}

/// The model `@NAME@` with one conversation. Everything runs in this process; nothing touches a network.
///
/// Work is done on a queue of the model's own, one call after the other.
public final class @MODULE@: @unchecked Sendable {
    /// One message of a chat.
    public struct Message: Sendable {
        /// "system", "user" or "assistant".
        public let role: String
        public let content: String

        public init(role: String, content: String) {
            self.role = role
            self.content = content
        }
    }

    /// How to answer. The defaults take the most likely token each time.
    public struct Options: Sendable {
        /// Most tokens; 0: what the context holds.
        public var maxTokens: UInt32 = 0
        /// 0: the most likely token.
        public var temperature: Float = 0
        /// 0: all tokens.
        public var topK: UInt32 = 0
        /// 1: all tokens.
        public var topP: Float = 1
        /// Draws are a function of seed and position.
        public var seed: UInt64 = 0

        public init() {}
    }

    private let model: OpaquePointer
    private let session: OpaquePointer
    private let queue = DispatchQueue(label: "slmc.@NAME@")

    /// Opens the bundle in `folder`: that of `Bundles/` for the system the app runs on. `cache` should belong to the app alone; it makes
    /// the next opening quick. `threads` 0: as the bundle says.
    public init(folder: URL, cache: URL? = nil, threads: UInt32 = 0) throws {
        var error = @p@_slm_error()
        var opened: OpaquePointer?
        guard @p@_slm_open(folder.path, cache?.path, 0, threads, &opened, &error) == 0, let model = opened else {
            throw @MODULE@Error(error)
        }
        var begun: OpaquePointer?
        guard @p@_slm_session_open(model, &begun, &error) == 0, let session = begun else {
            @p@_slm_close(model, nil)
            throw @MODULE@Error(error)
        }
        self.model = model
        self.session = session
    }

    deinit {
        @p@_slm_session_close(session)
        @p@_slm_close(model, nil)
    }

    /// The answer to a chat, piece by piece. Whoever stops listening ends it.
    public func answer(_ messages: [Message], options: Options = Options()) -> AsyncThrowingStream<String, Error> {
        AsyncThrowingStream { continuation in
            let listening = Listener { continuation.yield($0) }
            continuation.onTermination = { _ in listening.stop() }
            queue.async {
                do {
                    try self.generate(try self.prompt(messages), options, listening)
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
    }

    /// Ends the answer that is being made, or else the next one.
    public func cancel() {
        @p@_slm_cancel(session)
    }

    /// Ids of a chat in the model's own format. On the queue.
    private func prompt(_ messages: [Message]) throws -> [UInt32] {
        var kept: [UnsafeMutablePointer<CChar>] = []
        defer { kept.forEach { free($0) } }
        func keep(_ text: String) -> UnsafePointer<CChar>? {
            guard let copy = strdup(text) else { return nil }
            kept.append(copy)
            return UnsafePointer(copy)
        }
        let list = messages.map { message in
            @p@_slm_message(role: keep(message.role), content: keep(message.content), content_bytes: message.content.utf8.count)
        }
        var error = @p@_slm_error()
        var count = 0
        var ids = [UInt32](repeating: 0, count: 1024)
        var code = @p@_slm_chat_prompt(session, list, list.count, 0, &ids, ids.count, &count, &error)
        if code == Int32(@P@_SLM_ERR_BUFFER) {
            ids = [UInt32](repeating: 0, count: count)
            code = @p@_slm_chat_prompt(session, list, list.count, 0, &ids, ids.count, &count, &error)
        }
        guard code == 0 else { throw @MODULE@Error(error) }
        return Array(ids.prefix(count))
    }

    /// On the queue.
    private func generate(_ ids: [UInt32], _ options: Options, _ listener: Listener) throws {
        var request = @p@_slm_generation()
        request.sampling.temperature = options.temperature
        request.sampling.top_k = options.topK
        request.sampling.top_p = options.topP
        request.sampling.repetition_penalty = 1
        request.sampling.seed = options.seed
        request.max_tokens = options.maxTokens
        request.user = Unmanaged.passUnretained(listener).toOpaque()
        request.receiver = { user, _, text, bytes in
            guard let user = user else { return 1 }
            let listener = Unmanaged<Listener>.fromOpaque(user).takeUnretainedValue()
            let piece = UnsafeRawBufferPointer(start: text, count: bytes)
            return listener.take(String(decoding: piece, as: UTF8.self)) ? 0 : 1
        }
        var error = @p@_slm_error()
        let code = withExtendedLifetime(listener) { @p@_slm_generate(session, ids, ids.count, &request, nil, &error) }
        guard code == 0 else { throw @MODULE@Error(error) }
    }

    /// Takes the pieces of one answer, until it is told to stop.
    private final class Listener: @unchecked Sendable {
        private let lock = NSLock()
        private var stopped = false
        private let yield: (String) -> Void

        init(_ yield: @escaping (String) -> Void) {
            self.yield = yield
        }

        func stop() {
            lock.lock()
            stopped = true
            lock.unlock()
        }

        func take(_ piece: String) -> Bool {
            lock.lock()
            defer { lock.unlock() }
            if !stopped && !piece.isEmpty { yield(piece) }
            return !stopped
        }
    }
}
