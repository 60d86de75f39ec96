package example.warehouse;

import android.app.Activity;
import android.os.Bundle;
import android.widget.Button;
import android.widget.EditText;
import android.widget.LinearLayout;
import android.widget.TextView;
import java.io.IOException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import slmc.Model;

/** Asks the model what is typed, and shows the answer as it comes. */
public final class MainActivity extends Activity {
    /** All work with the model, in order. */
    private final ExecutorService work = Executors.newSingleThreadExecutor();
    private volatile Model model;

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        EditText question = new EditText(this);
        Button ask = new Button(this);
        TextView answer = new TextView(this);
        ask.setText("Ask");
        LinearLayout all = new LinearLayout(this);
        all.setOrientation(LinearLayout.VERTICAL);
        all.addView(question);
        all.addView(ask);
        all.addView(answer);
        setContentView(all);
        ask.setOnClickListener(view -> {
            answer.setText("");
            String text = question.getText().toString();
            work.execute(() -> answer(text, answer));
        });
    }

    private void answer(String question, TextView view) {
        try {
            if (model == null) {
                model = Model.open(this, "warehouse", 0);
            }
            model.answer(new Model.Options(), piece -> {
                runOnUiThread(() -> view.append(piece));
                return true;
            }, new Model.Message("user", question));
        } catch (IOException | RuntimeException e) {
            runOnUiThread(() -> view.setText(String.valueOf(e.getMessage())));
        }
    }

    @Override
    protected void onDestroy() {
        super.onDestroy();
        Model open = model;
        if (open != null) {
            open.cancel();
        }
        work.execute(() -> {
            if (model != null) {
                model.close();
            }
        });
        work.shutdown();
    }
}
