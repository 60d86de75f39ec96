package slmc;

import android.content.Context;
import android.content.res.AssetManager;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * An open model with one conversation. Everything runs in this process; nothing touches a network.
 *
 * <p>Calls wait for one another; {@link #cancel} does not. Opening and answering take time: not for a user interface's thread.
 */
public final class Model implements AutoCloseable {
    /** Gets an answer while it is made. */
    public interface Receiver {
        /** Takes the next piece of text; false ends the answer. */
        boolean text(String piece);
    }

    /** What the native side calls. */
    interface Pieces {
        boolean piece(int id, byte[] text);
    }

    /** One message of a chat. */
    public static final class Message {
        final String role;
        final String content;

        /** The role is "system", "user" or "assistant". */
        public Message(String role, String content) {
            this.role = role;
            this.content = content;
        }
    }

    /** How to answer. The defaults take the most likely token each time. */
    public static final class Options {
        /** Most tokens; 0: what the context holds. */
        public int maxTokens = 0;
        /** 0: the most likely token. */
        public float temperature = 0;
        /** 0: all tokens. */
        public int topK = 0;
        /** 1: all tokens. */
        public float topP = 1;
        /** 1: none. */
        public float repetitionPenalty = 1;
        /** Draws are a function of seed and position. */
        public long seed = 0;
        /** At most 16 texts that end the answer and are not part of it. */
        public String[] stops = {};
    }

    /** How an answer ended. */
    public enum End {
        /** Not at all: a failure. */
        FAILED,
        /** The model ended it. */
        TEXT,
        /** At the most tokens allowed. */
        LIMIT,
        /** At a stop text. */
        STOP,
        /** By {@link Model#cancel}. */
        CANCELLED,
        /** By the receiver. */
        RECEIVER
    }

    /** What an answer took. */
    public static final class Answer {
        /** The whole text. */
        public final String text;
        /** How it ended. */
        public final End end;
        /** Tokens of the prompt, and how many of them were known from the turn before. */
        public final long promptTokens, reusedTokens;
        /** Tokens of the answer. */
        public final long tokens;
        /** Time of prompt and answer, nanoseconds. */
        public final long prefillNanos, decodeNanos;

        Answer(String text, End end, long[] counts) {
            this.text = text;
            this.end = end;
            promptTokens = counts[0];
            reusedTokens = counts[1];
            tokens = counts[2];
            prefillNanos = counts[3];
            decodeNanos = counts[4];
        }
    }

    private static final int ERROR_BYTES = 512;

    static {
        System.loadLibrary("slmc_jni");
    }

    private final Object cancelLock = new Object();
    private long handle;
    private boolean busy;

    private Model(long handle) {
        this.handle = handle;
    }

    /**
     * Opens a model of this package by its name. The first time, its files are copied from the assets to the app's folder, as the
     * runtime maps them; later only if the package has others.
     */
    public static Model open(Context context, String name, int threads) throws IOException {
        File folder = unpack(context, name);
        File cache = new File(context.getCacheDir(), "slm");
        cache.mkdirs();
        return open("lib" + name + ".so", folder, cache, threads);
    }

    /**
     * Opens the bundle in a folder with the code in a library.
     *
     * @param library as the system finds it: the name of a library in the package, or a path
     * @param cache a folder of the app alone for what makes the next opening quick, or null
     * @param threads 0: as the bundle says
     */
    public static Model open(String library, File folder, File cache, int threads) {
        byte[] error = new byte[ERROR_BYTES];
        byte[] cachePath = cache == null ? null : bytes(cache.getPath());
        long handle = nativeOpen(bytes(library), bytes(folder.getPath()), cachePath, threads, error);
        if (handle == 0) {
            throw failure(error);
        }
        return new Model(handle);
    }

    /** Ids of a text as it stands: special tokens in it are text. */
    public synchronized int[] tokenize(String text) {
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        byte[] error = new byte[ERROR_BYTES];
        int[] ids = new int[utf8.length + 8];
        int count = nativeTokenize(live(), utf8, 0, ids, error);
        if (count > ids.length) {
            ids = new int[count];
            count = nativeTokenize(live(), utf8, 0, ids, error);
        }
        if (count < 0) {
            throw failure(error);
        }
        return Arrays.copyOf(ids, count);
    }

    /** Ids of a chat in the model's own format, up to where the assistant answers. */
    public synchronized int[] prompt(Message... messages) {
        ByteArrayOutputStream packed = new ByteArrayOutputStream();
        for (Message message : messages) {
            pack(packed, message.role);
            pack(packed, message.content);
        }
        byte[] error = new byte[ERROR_BYTES];
        int[] ids = new int[packed.size() + 64];
        int count = nativeChat(live(), packed.toByteArray(), ids, error);
        if (count > ids.length) {
            ids = new int[count];
            count = nativeChat(live(), packed.toByteArray(), ids, error);
        }
        if (count < 0) {
            throw failure(error);
        }
        return Arrays.copyOf(ids, count);
    }

    /** Answers a chat. */
    public Answer answer(Options options, Receiver receiver, Message... messages) {
        return generate(prompt(messages), options, receiver);
    }

    /**
     * Answers a prompt of ids, the whole conversation: what the model holds of it already is not computed again.
     *
     * @param receiver gets the pieces as they come; may be null
     */
    public synchronized Answer generate(int[] prompt, Options options, final Receiver receiver) {
        ByteArrayOutputStream stops = new ByteArrayOutputStream();
        for (String stop : options.stops) {
            pack(stops, stop);
        }
        final StringBuilder whole = new StringBuilder();
        Pieces pieces = new Pieces() {
            @Override
            public boolean piece(int id, byte[] text) {
                if (text.length == 0) {
                    return true;
                }
                String piece = new String(text, StandardCharsets.UTF_8);
                whole.append(piece);
                return receiver == null || receiver.text(piece);
            }
        };
        long[] counts = new long[5];
        byte[] error = new byte[ERROR_BYTES];
        long live = live();
        int end;
        busy = true;
        try {
            end = nativeGenerate(live, prompt, options.maxTokens, options.temperature, options.topK, options.topP,
                    options.repetitionPenalty, options.seed, stops.toByteArray(), pieces, counts, error);
        } finally {
            busy = false;
        }
        if (end < 0) {
            throw failure(error);
        }
        return new Answer(whole.toString(), End.values()[end], counts);
    }

    /** Forgets the conversation. */
    public synchronized void reset() {
        byte[] error = new byte[ERROR_BYTES];
        if (nativeReset(live(), error) != 0) {
            throw failure(error);
        }
    }

    /** Ends the answer that is being made, or else the next one, before its next token. From any thread. */
    public void cancel() {
        synchronized (cancelLock) {
            if (handle != 0) {
                nativeCancel(handle);
            }
        }
    }

    /** Frees everything. Waits for an answer that is being made; a second time does nothing. */
    @Override
    public synchronized void close() {
        if (busy) {
            throw new IllegalStateException("close is called by the receiver of an answer; end the answer first");
        }
        synchronized (cancelLock) {
            if (handle != 0) {
                nativeClose(handle);
                handle = 0;
            }
        }
    }

    private long live() {
        if (handle == 0) {
            throw new IllegalStateException("the model is closed");
        }
        return handle;
    }

    private static void pack(ByteArrayOutputStream out, String text) {
        if (text.indexOf('\0') >= 0) {
            throw new IllegalArgumentException("text holds a zero character");
        }
        byte[] utf8 = bytes(text);
        out.write(utf8, 0, utf8.length);
    }

    private static byte[] bytes(String text) {
        return (text + '\0').getBytes(StandardCharsets.UTF_8);
    }

    private static ModelException failure(byte[] error) {
        int code = (error[0] & 255) | (error[1] & 255) << 8 | (error[2] & 255) << 16 | error[3] << 24;
        int end = 4;
        while (end < error.length && error[end] != 0) {
            end++;
        }
        return new ModelException(code, new String(error, 4, end - 4, StandardCharsets.UTF_8));
    }

    private static synchronized File unpack(Context context, String name) throws IOException {
        AssetManager assets = context.getAssets();
        String from = "slm/" + name + "/";
        byte[] manifest = read(assets, from + "manifest.json");
        File all = new File(context.getNoBackupFilesDir(), "slm");
        File folder = new File(all, name);
        File known = new File(folder, "manifest.json");
        if (known.length() == manifest.length && Arrays.equals(readFile(known), manifest)) {
            return folder;
        }
        File aside = new File(all, name + ".new");
        remove(aside);
        if (!aside.mkdirs()) {
            throw new IOException(aside + " cannot be made");
        }
        try (BufferedReader files = new BufferedReader(new InputStreamReader(assets.open(from + "files.txt"), StandardCharsets.UTF_8))) {
            for (String file = files.readLine(); file != null; file = files.readLine()) {
                try (InputStream in = assets.open(from + file); FileOutputStream out = new FileOutputStream(new File(aside, file))) {
                    copy(in, out);
                    out.getFD().sync();
                }
            }
        }
        remove(folder);
        if (!aside.renameTo(folder)) {
            throw new IOException(aside + " cannot be renamed");
        }
        return folder;
    }

    private static byte[] read(AssetManager assets, String path) throws IOException {
        try (InputStream in = assets.open(path)) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            copy(in, out);
            return out.toByteArray();
        }
    }

    private static byte[] readFile(File file) throws IOException {
        try (InputStream in = new java.io.FileInputStream(file)) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            copy(in, out);
            return out.toByteArray();
        }
    }

    private static void copy(InputStream in, java.io.OutputStream out) throws IOException {
        byte[] buffer = new byte[1 << 16];
        for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
            out.write(buffer, 0, count);
        }
    }

    private static void remove(File file) {
        File[] inside = file.listFiles();
        if (inside != null) {
            for (File one : inside) {
                remove(one);
            }
        }
        file.delete();
    }

    private static native long nativeOpen(byte[] library, byte[] folder, byte[] cache, int threads, byte[] error);

    private static native void nativeClose(long handle);

    private static native int nativeReset(long handle, byte[] error);

    private static native void nativeCancel(long handle);

    private static native int nativeTokenize(long handle, byte[] text, int flags, int[] ids, byte[] error);

    private static native int nativeChat(long handle, byte[] messages, int[] ids, byte[] error);

    private static native int nativeGenerate(long handle, int[] prompt, int maxTokens, float temperature, int topK, float topP,
            float repetitionPenalty, long seed, byte[] stops, Pieces receiver, long[] counts, byte[] error);
}
