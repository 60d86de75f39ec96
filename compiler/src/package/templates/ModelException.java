package slmc;

/** A call that failed: a code of slm.h (SLM_ERR_...) and a message that names what was expected and found. */
public final class ModelException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final int code;

    ModelException(int code, String message) {
        super(message);
        this.code = code;
    }

    /** The code, below zero. */
    public int code() {
        return code;
    }
}
